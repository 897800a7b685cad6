package nodeauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// calling is the context of a call with headers "authorization".
func calling(values ...string) context.Context {
	headers := metadata.MD{}
	headers.Append("authorization", values...)
	return metadata.NewIncomingContext(context.Background(), headers)
}

// enter passes a call through the interceptor, and asks for a node's view.
func enter(ctx context.Context, a *Authorizer, node string) (grant Grant, err error) {
	_, err = a.UnaryInterceptor(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
		grant, err = a.Authorize(ctx, node)
		return nil, err
	})
	return grant, err
}

// setUp returns an authorizer by tokens of an issuer, whose reviews are answered.
func setUp(t *testing.T, review Review) (*Authorizer, *issuer) {
	i := newIssuer(t, "k1")
	keys := keysOf(func() (Published, error) { return i.published(), nil }, time.Now)
	return &Authorizer{
		Verifier: NewVerifier(policy, keys, time.Now), Reviewer: NewReviewer(review, hclog.NewNullLogger(), time.Now),
	}, i
}

func TestANodesViewIsForItsOwnPodsToken(t *testing.T) {
	a, i := setUp(t, func(context.Context, string) (bool, error) { return true, nil })
	refused := 0
	a.Refused = func(string, error) { refused++ }
	token := i.sign("k1", content(time.Now()))
	for name, test := range map[string]struct {
		ctx  context.Context
		node string
		code codes.Code
		want string
	}{
		"its own":             {calling("Bearer " + token), "node-a", codes.OK, ""},
		"in lower case":       {calling("bearer " + token), "node-a", codes.OK, ""},
		"another's":           {calling("Bearer " + token), "node-b", codes.PermissionDenied, `view of node "node-b": the peer is of node "node-a"`},
		"everybody's":         {calling("Bearer " + token), "*", codes.PermissionDenied, "the peer is of node"},
		"nobody's":            {calling("Bearer " + token), "", codes.PermissionDenied, "the peer is of node"},
		"without a token":     {context.Background(), "node-a", codes.Unauthenticated, "expected one"},
		"with two":            {calling("Bearer "+token, "Bearer "+token), "node-a", codes.Unauthenticated, "2 headers"},
		"with a password":     {calling("Basic dXNlcjpwYXNz"), "node-a", codes.Unauthenticated, `expected "Bearer "`},
		"with nothing behind": {calling("Bearer "), "node-a", codes.Unauthenticated, `expected "Bearer "`},
		"with garbage":        {calling("Bearer garbage"), "node-a", codes.Unauthenticated, "token: "},
	} {
		grant, err := enter(test.ctx, a, test.node)
		if status.Code(err) != test.code || test.want != "" && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v: want %s %q", name, err, test.code, test.want)
		}
		if err == nil && (grant.Until.IsZero() || grant.Revoked == nil) {
			t.Errorf("%s: a right without an end: %+v", name, grant)
		}
		grant.End()
	}
	if refused != 5 {
		t.Errorf("%d were not let in: want 5", refused)
	}
	if _, err := a.Authorize(context.Background(), "node-a"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("past the interceptor: %v", err)
	}
}

func TestWithoutKeysNobodyIsLetInYet(t *testing.T) {
	a, i := setUp(t, nil)
	a.Verifier.keys = keysOf(func() (Published, error) { return Published{}, errors.New("away") }, time.Now)
	if _, err := enter(calling("Bearer "+i.sign("k1", content(time.Now()))), a, "node-a"); status.Code(err) != codes.Unavailable {
		t.Errorf("%v: want %s, which has the agent come back", err, codes.Unavailable)
	}
}

func TestTrustGivesAnyView(t *testing.T) {
	a := &Authorizer{}
	err := Trust(nil, &known{ctx: context.Background()}, nil, func(_ any, stream grpc.ServerStream) error {
		grant, err := a.Authorize(stream.Context(), "node-a")
		if !grant.Until.IsZero() || grant.Revoked != nil {
			t.Errorf("%+v", grant)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestACertificateNamesTheNode in one of the two ways that there are.
func TestACertificateNamesTheNode(t *testing.T) {
	ends := time.Now().Add(time.Hour)
	shown := func(leaf *x509.Certificate) context.Context {
		info := credentials.TLSInfo{}
		if leaf != nil {
			info.State = tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
		}
		return peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{}, AuthInfo: info})
	}
	a := &Authorizer{}
	for name, test := range map[string]struct {
		ctx  context.Context
		code codes.Code
	}{
		"common name":                {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "node-a"}, NotAfter: ends}), codes.OK},
		"as a kubelet's":             {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "system:node:node-a"}, NotAfter: ends}), codes.OK},
		"DNS name":                   {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "agent"}, DNSNames: []string{"node-a"}, NotAfter: ends}), codes.OK},
		"another's":                  {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "node-b"}, NotAfter: ends}), codes.PermissionDenied},
		"DNS name of another":        {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "node-a"}, DNSNames: []string{"node-b"}, NotAfter: ends}), codes.PermissionDenied},
		"no name":                    {shown(&x509.Certificate{NotAfter: ends}), codes.PermissionDenied},
		"of everybody":               {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "*"}}), codes.PermissionDenied},
		"no certificate":             {shown(nil), codes.Unauthenticated},
		"plaintext":                  {peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{}}), codes.Unauthenticated},
		"a token and no certificate": {calling("Bearer x"), codes.Unauthenticated},
	} {
		grant, err := enter(test.ctx, a, "node-a")
		if status.Code(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
		if err == nil && !grant.Until.Equal(ends) {
			t.Errorf("%s: the right ends at %s, the certificate at %s", name, grant.Until, ends)
		}
	}
}

// TestARevokedTokenIsCut: soon after the API server says so, and only then.
func TestARevokedTokenIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone, away atomic.Bool
		var asked atomic.Int64
		a, i := setUp(t, func(context.Context, string) (bool, error) {
			asked.Add(1)
			if away.Load() {
				return false, errors.New("the API server is away")
			}
			return !gone.Load(), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Reviewer.Run(ctx) }()
		call := calling("Bearer " + i.sign("k1", content(time.Now())))
		grant, err := enter(call, a, "node-a")
		if err != nil {
			t.Fatal(err)
		}
		second, _ := enter(call, a, "node-a")
		isCut := func() bool {
			select {
			case <-grant.Revoked:
				return true
			default:
				return false
			}
		}
		synctest.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times at the beginning of two streams with one token", asked.Load())
		}
		time.Sleep(10 * time.Minute)
		if n := asked.Load(); isCut() || n < 20 || n > 22 {
			t.Errorf("after ten minutes: cut %v, asked %d times", isCut(), n)
		}
		away.Store(true)
		gone.Store(true)
		time.Sleep(10 * time.Minute)
		if isCut() {
			t.Error("cut because the API server was away")
		}
		away.Store(false)
		time.Sleep(reviewEvery + time.Second)
		if !isCut() {
			t.Error("not cut")
		}
		grant.End()
		second.End()
		if _, err := enter(call, a, "node-a"); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a token that was found revoked opens another stream: %v", err)
		}
		time.Sleep(2 * time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := len(a.Reviewer.tokens); n != 0 {
			t.Errorf("%d tokens are remembered after their end", n)
		}
	})
}

// TestOnlyTokensInUseAreAskedAbout, of thousands of nodes a few at a time.
func TestOnlyTokensInUseAreAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at, most, asked atomic.Int64
		r := NewReviewer(func(context.Context, string) (bool, error) {
			if n := at.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(10 * time.Millisecond)
			at.Add(-1)
			asked.Add(1)
			return true, nil
		}, hclog.NewNullLogger(), time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		var ends []func()
		for i := range 2000 {
			_, end := r.use(Identity{token: strings.Repeat("x", i), Until: time.Now().Add(time.Hour)})
			ends = append(ends, end)
		}
		time.Sleep(30 * time.Second)
		if asked.Load() != 2000 || most.Load() > reviewsAtOnce {
			t.Errorf("asked %d times, %d at once", asked.Load(), most.Load())
		}
		for _, end := range ends {
			end()
		}
		time.Sleep(10 * time.Minute)
		if asked.Load() != 2000 {
			t.Errorf("asked about %d tokens that nobody has", asked.Load()-2000)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
