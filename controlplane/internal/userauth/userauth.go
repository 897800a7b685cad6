// Package userauth lets people and tools ask the control plane over the network as far as the
// cluster's own rules allow: who they are is the API server's answer to their token, what
// they may its answer to a SubjectAccessReview.
package userauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portolan-net/portolan/controlplane/internal/bearer"
)

// User is somebody as the API server knows him.
type User struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// Cluster answers who somebody is and what he may.
type Cluster interface {
	// ReviewToken returns who the bearer of a token is, or false and why it is not good.
	ReviewToken(ctx context.Context, token, audience string) (user User, good bool, reason string, err error)
	// MayAccess tells whether a user may do something with a path that is no resource.
	MayAccess(ctx context.Context, user User, verb, path string) (allowed bool, reason string, err error)
}

// Paths that a ClusterRole allows in nonResourceURLs. Verb get is for questions, update
// for orders.
const (
	PathIntrospection = "/portolan/introspection"
	PathAdmin         = "/portolan/admin"
)

const (
	// remember is how long an answer counts. A right that is taken away ends so late.
	remember = 30 * time.Second
	// remembered bounds the memory.
	remembered = 1024
	// patience bounds the questions to the API server for one call.
	patience = 5 * time.Second
)

// Gate lets calls in. It is safe for concurrent use.
type Gate struct {
	cluster Cluster
	now     func() time.Time

	mu      sync.Mutex
	answers map[answerKey]answer
}

// answerKey is what was asked; of the token a hash is kept.
type answerKey struct {
	token      [sha256.Size]byte
	verb, path string
}

type answer struct {
	err   error
	until time.Time
}

// NewGate returns a gate that asks a cluster.
func NewGate(cluster Cluster, now func() time.Time) *Gate {
	return &Gate{cluster: cluster, now: now, answers: map[answerKey]answer{}}
}

// UnaryInterceptor lets calls in that their caller may make.
func (g *Gate) UnaryInterceptor(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := g.allow(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

// StreamInterceptor is UnaryInterceptor for streams. What was allowed at the beginning of
// one counts to its end.
func (g *Gate) StreamInterceptor(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := g.allow(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return handler(server, stream)
}

// right returns what is needed to call a method. What changes nothing is a question.
func right(method string) (verb, path string) {
	if strings.HasPrefix(method, "/portolan.admin.") {
		return "update", PathAdmin
	}
	return "get", PathIntrospection
}

func (g *Gate) allow(ctx context.Context, method string) error {
	token, err := bearer.Token(ctx)
	if err != nil {
		return err
	}
	key := answerKey{token: sha256.Sum256([]byte(token))}
	key.verb, key.path = right(method)
	if known, ok := g.recall(key); ok {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = g.ask(ctx, token, key.verb, key.path)
	if status.Code(err) != codes.Unavailable {
		g.note(key, err)
	}
	return err
}

func (g *Gate) ask(ctx context.Context, token, verb, path string) error {
	user, good, reason, err := g.cluster.ReviewToken(ctx, token, "")
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if !good {
		return status.Errorf(codes.Unauthenticated, "the API server does not take the token: %s", orElse(reason, "it does not say why"))
	}
	allowed, reason, err := g.cluster.MayAccess(ctx, user, verb, path)
	switch {
	case err != nil:
		return status.Error(codes.Unavailable, err.Error())
	case !allowed:
		return status.Errorf(codes.PermissionDenied, "user %q may not %s %s: expected a ClusterRole with nonResourceURLs: [%q], verbs: [%s]%s",
			user.Name, verb, path, path, verb, because(reason))
	default:
		return nil
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", reason)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func (g *Gate) recall(key answerKey) (error, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.answers[key]
	return known.err, ok && g.now().Before(known.until)
}

func (g *Gate) note(key answerKey, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.answers) >= remembered {
		clear(g.answers)
	}
	g.answers[key] = answer{err, g.now().Add(remember)}
}
