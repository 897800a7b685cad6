package nodeauth

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/portolan-net/portolan/controlplane/internal/bearer"
)

// Grant is the right to a node's view.
type Grant struct {
	// Until is when the stream has to end and come back; zero means never.
	Until time.Time
	// Revoked is closed once the right is taken back; nil means never.
	Revoked <-chan struct{}
	end     func()
}

// End must be called when the stream has ended.
func (g Grant) End() {
	if g.end != nil {
		g.end()
	}
}

// Authorizer authenticates the peers of a gRPC server. Verifier and Reviewer are for those
// that show tokens, and nil where certificates count.
type Authorizer struct {
	Verifier *Verifier
	Reviewer *Reviewer
	// Refused is told of each peer that is not let in; may be nil.
	Refused func(peer string, err error)
}

// ErrRevoked is how a stream ends whose right is taken back.
var ErrRevoked = status.Error(codes.Unauthenticated, "the token is no longer good: the pod that it is bound to is gone, or its service account")

type contextKey struct{}

// StreamInterceptor lets nobody in whose identity is not shown. The stream's context
// carries it, for Authorize.
func (a *Authorizer) StreamInterceptor(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	identity, err := a.admit(stream.Context())
	if err != nil {
		return err
	}
	return handler(server, &known{stream, context.WithValue(stream.Context(), contextKey{}, identity)})
}

// UnaryInterceptor is StreamInterceptor for calls.
func (a *Authorizer) UnaryInterceptor(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	identity, err := a.admit(ctx)
	if err != nil {
		return nil, err
	}
	return handler(context.WithValue(ctx, contextKey{}, identity), request)
}

// known is a stream whose peer is known.
type known struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (k *known) Context() context.Context { return k.ctx }

func (a *Authorizer) admit(ctx context.Context) (Identity, error) {
	identity, err := a.authenticate(ctx)
	if err != nil && a.Refused != nil {
		from := "unknown"
		if p, ok := peer.FromContext(ctx); ok {
			from = p.Addr.String()
		}
		a.Refused(from, err)
	}
	return identity, err
}

// authenticate returns who a peer is.
func (a *Authorizer) authenticate(ctx context.Context) (Identity, error) {
	if a.Verifier == nil {
		return ofCertificate(ctx)
	}
	token, err := bearer.Token(ctx)
	if err != nil {
		return Identity{}, err
	}
	identity, err := a.Verifier.Verify(ctx, token)
	switch {
	case errors.Is(err, ErrNoKeys):
		return Identity{}, status.Error(codes.Unavailable, err.Error())
	case err != nil:
		return Identity{}, status.Errorf(codes.Unauthenticated, "token: %s", err)
	case a.Reviewer.isRevoked(token):
		return Identity{}, ErrRevoked
	}
	return identity, nil
}

// ofCertificate returns who has shown the certificate of a connection. TLS has verified
// it.
func ofCertificate(ctx context.Context) (Identity, error) {
	from, _ := peer.FromContext(ctx)
	if from == nil {
		return Identity{}, status.Error(codes.Unauthenticated, "no connection")
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return Identity{}, status.Error(codes.Unauthenticated, "no certificate: expected one that names the node")
	}
	leaf := info.State.VerifiedChains[0][0]
	return Identity{Node: nodeOf(leaf), Until: leaf.NotAfter}, nil
}

// nodePrefix is what Kubernetes puts before a node's name in the certificates of
// kubelets.
const nodePrefix = "system:node:"

// nodeOf returns the node that a certificate names: by its one DNS name, or by its common name.
func nodeOf(leaf *x509.Certificate) string {
	if len(leaf.DNSNames) == 1 {
		return leaf.DNSNames[0]
	}
	return strings.TrimPrefix(leaf.Subject.CommonName, nodePrefix)
}

// Authorize returns the right of the stream's peer to a node's view. The interceptor must have
// let it in.
func (a *Authorizer) Authorize(ctx context.Context, node string) (Grant, error) {
	identity, ok := ctx.Value(contextKey{}).(Identity)
	if !ok {
		return Grant{}, status.Error(codes.Unauthenticated, "the peer is not known")
	}
	if identity.trusted {
		return Grant{}, nil
	}
	if identity.Node == "" || identity.Node != node {
		return Grant{}, status.Errorf(codes.PermissionDenied, "view of node %q: the peer is of node %q", node, identity.Node)
	}
	grant := Grant{Until: identity.Until}
	if identity.token != "" {
		grant.Revoked, grant.end = a.Reviewer.use(identity)
	}
	return grant, nil
}

// IsAgent tells whether a call was let in as a node's agent.
func IsAgent(ctx context.Context) bool {
	identity, ok := ctx.Value(contextKey{}).(Identity)
	return ok && !identity.trusted
}

// Trust is a stream interceptor for listeners that only those can reach, or are let in by
// others, who may have any node's view.
func Trust(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(server, &known{stream, context.WithValue(stream.Context(), contextKey{}, Identity{trusted: true})})
}
