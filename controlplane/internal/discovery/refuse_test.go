package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
)

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	node := &discoveryv1.Node{Id: "n"}
	digest := func(kind discoveryv1.Kind, buckets int) *discoveryv1.KindDigest {
		return &discoveryv1.KindDigest{Kind: kind, Buckets: make([]uint64, buckets)}
	}
	for name, test := range map[string]struct {
		do   func(*client)
		want string
	}{
		"ack first":     {func(c *client) { c.ack(&discoveryv1.Ack{}) }, "first request must be subscribe"},
		"nothing first": {func(c *client) { _ = c.stream.CloseSend() }, "first request must be subscribe"},
		"no node":       {func(c *client) { c.subscribe(&discoveryv1.Subscribe{}) }, "subscribe.node.id"},
		"odd node":      {func(c *client) { c.node("a\x00b") }, "subscribe.node.id"},
		"no known kind": {func(c *client) {
			c.subscribe(&discoveryv1.Subscribe{Node: node, Kinds: []discoveryv1.Kind{0, 63, 99, -1}})
		}, "none of them is known"},
		"subscribe twice": {func(c *client) { c.node("n"); c.node("n") }, "one subscription"},
		"empty request":   {func(c *client) { c.node("n"); c.send(&discoveryv1.StreamDeltasRequest{}) }, "empty request"},
		"nonce from the future": {func(c *client) {
			c.node("n")
			c.commit()
			c.ack(&discoveryv1.Ack{ResponseNonce: 2})
		}, "ack.response_nonce 2 was never sent: the last is 1"},
		"nonce zero": {func(c *client) { c.node("n"); c.commit(); c.ack(&discoveryv1.Ack{}) }, "never sent"},
		"three buckets": {func(c *client) {
			c.subscribe(&discoveryv1.Subscribe{Node: node, Resume: &discoveryv1.Resume{Digests: []*discoveryv1.KindDigest{digest(1, 3)}}})
		}, "resume.digests: Service: 3 buckets"},
		"kind twice": {func(c *client) {
			c.subscribe(&discoveryv1.Subscribe{Node: node, Resume: &discoveryv1.Resume{Digests: []*discoveryv1.KindDigest{digest(1, 1), digest(1, 1)}}})
		}, "Service occurs twice"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newReplica(t, nil)
				defer r.stop()
				r.commit(t, "services", services(3, 80)...)
				c := r.open(t)
				defer c.close()
				test.do(c)
				c.ends(codes.InvalidArgument, test.want)
			})
		})
	}
}

func TestAStreamWithoutSubscribeIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		c := r.open(t)
		defer c.close()
		c.ends(codes.DeadlineExceeded, "no subscribe within 10s")
	})
}

func TestNobodyIsServedBeforeTheFirstSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		h := health.NewServer()
		ctx, cancel := context.WithCancel(context.Background())
		go r.server.ReportHealth(ctx, h)
		check := func(want healthpb.HealthCheckResponse_ServingStatus) {
			t.Helper()
			synctest.Wait()
			for _, service := range []string{"", "portolan.discovery.v1.DiscoveryService"} {
				if got, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil || got.GetStatus() != want {
					t.Errorf("service %q: %v, %v", service, got, err)
				}
			}
		}
		c := r.open(t).node("n")
		defer c.close()
		c.ends(codes.Unavailable, "not synced")
		check(healthpb.HealthCheckResponse_NOT_SERVING)
		r.commit(t, "services")
		check(healthpb.HealthCheckResponse_SERVING)
		cancel()
		check(healthpb.HealthCheckResponse_NOT_SERVING)
	})
}

func TestAReplicaThatIsBehindTheSubscriberWaitsThenRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		ahead := func(source string, version uint64) *discoveryv1.Subscribe {
			return &discoveryv1.Subscribe{Node: &discoveryv1.Node{Id: "n"}, Resume: &discoveryv1.Resume{
				Source: &discoveryv1.SourceVersion{Source: source, Services: version}}}
		}
		begun := time.Now()
		refused := r.open(t).subscribe(ahead("cluster", 2))
		defer refused.close()
		refused.ends(codes.Unavailable, "behind")
		if waited := time.Since(begun); waited != 2*time.Second {
			t.Errorf("refused after %s", waited)
		}
		waits := r.open(t).subscribe(ahead("cluster", 2))
		defer waits.close()
		time.Sleep(time.Second)
		// Nothing changes, but the source is now known to be as far.
		r.store.Begin().Commit(model.SourceVersion{Source: "cluster", Services: 2})
		waits.commit()
		other := r.open(t).subscribe(ahead("another cluster", 99))
		defer other.close()
		other.commit()
	})
}

func TestAStreamThatFellBehindTheLogResumes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, func(c *Config) { c.AckTimeout = time.Hour })
		defer r.stop()
		r.commit(t, "services", services(1, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		first := last(c.commit())
		for port := range uint32(4200) {
			r.commit(t, "services", services(1, 100+port)...)
		}
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: first.GetDigest()})
		c.ends(codes.Aborted, "fell behind the change log: resume")
	})
}

func TestShutdownSendsSubscribersElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(1, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		c.commit()
		r.server.Shutdown()
		c.ends(codes.Unavailable, "shutting down")
		again := r.open(t).node("n")
		defer again.close()
		again.ends(codes.Unavailable, "shutting down")
	})
}

// TestAStreamEndsWithItsRight: in good order once the token has ended, so that the node comes
// back with another; at once if it is taken back.
func TestAStreamEndsWithItsRight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		revoked := make(chan struct{})
		r := newReplica(t, func(c *Config) {
			c.Authorize = func(_ context.Context, node string) (nodeauth.Grant, error) {
				if node == "revoked" {
					return nodeauth.Grant{Revoked: revoked}, nil
				}
				return nodeauth.Grant{Until: time.Now().Add(5 * time.Minute)}, nil
			}
		})
		defer r.stop()
		r.commit(t, "services", services(1, 80)...)
		ending, cut := r.open(t).node("ending"), r.open(t).node("revoked")
		defer ending.close()
		defer cut.close()
		begun := time.Now()
		for _, c := range []*client{ending, cut} {
			piece := last(c.commit())
			c.ack(&discoveryv1.Ack{ResponseNonce: piece.GetNonce(), Digest: piece.GetDigest()})
		}
		close(revoked)
		cut.ends(codes.Unauthenticated, "no longer good")
		if _, err := ending.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v: want in good order", err)
		}
		if lasted := time.Since(begun); lasted > 5*time.Minute || lasted < 4*time.Minute {
			t.Errorf("the stream ended after %s, its token after five minutes", lasted)
		}
	})
}

func TestAViewIsOnlyForWhoIsAuthorized(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, func(c *Config) {
			c.Authorize = func(_ context.Context, node string) (nodeauth.Grant, error) {
				if node != "n" {
					return nodeauth.Grant{}, fmt.Errorf("the token is node n's")
				}
				return nodeauth.Grant{}, nil
			}
		})
		defer r.stop()
		r.commit(t, "services", services(1, 80)...)
		good, bad := r.open(t).node("n"), r.open(t).node("m")
		defer good.close()
		defer bad.close()
		good.commit()
		bad.ends(codes.PermissionDenied, `view of node "m": the token is node n's`)
	})
}
