package discovery

import (
	"context"
	"errors"
	"maps"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
)

func TestANodeIsBroughtUpToDateAndKeptThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var seen []Acknowledged
		r := newReplica(t, func(c *Config) {
			c.PieceBytes = 200
			c.Observe = func(a Acknowledged) { seen = append(seen, a) }
		})
		defer r.stop()
		r.commit(t, "services", services(100, 80)...)
		r.commit(t, "node", nodeConfig("n", "z1"))
		r.commit(t, "sets", endpointSet("", "d/e", 1), endpointSet("z1", "d/e", 2))
		a := follow(t, "n", r.dial, nil)
		defer a.stop()
		synctest.Wait()
		if !maps.Equal(a.holds(), r.holds("n")) || a.transactions() != 1 || r.state("n") != "SYNCED" {
			t.Errorf("%d transactions, %s", a.transactions(), r.state("n"))
		}
		time.Sleep(time.Second)
		r.commit(t, "services", services(90, 81)...)
		synctest.Wait()
		if !maps.Equal(a.holds(), r.holds("n")) || a.transactions() != 2 || r.state("n") != "SYNCED" {
			t.Errorf("%d transactions, %s", a.transactions(), r.state("n"))
		}
		st, _ := r.nodes.Get("n")
		if st.Zone != "z1" || st.AgentVersion != "v1" || st.FullSyncs != 1 || st.SentResources != 102+90 || st.DigestMismatches != 0 {
			t.Errorf("status %+v", st)
		}
		if len(seen) != 2 || seen[0].SinceCommit != 0 || seen[1].SinceCommit != 0 {
			t.Errorf("observed %v", seen)
		}
		if stats := r.server.Stats(); stats.Streams != 1 || stats.Acks != 2 || stats.Transactions != 2 || stats.Pieces < 20 || stats.Resources != 192 {
			t.Errorf("stats %+v", stats)
		}
	})
}

func TestAChangeForOthersIsNotSent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "node", nodeConfig("n", "z1"))
		a := follow(t, "n", r.dial, nil)
		defer a.stop()
		synctest.Wait()
		r.commit(t, "other", nodeConfig("m", "z2"), endpointSet("z2", "d/e", 2))
		synctest.Wait()
		if a.transactions() != 1 || r.state("n") != "SYNCED" {
			t.Errorf("%d transactions, %s", a.transactions(), r.state("n"))
		}
	})
}

func TestPiecesAreBoundedAndTheLastOneCommits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, func(c *Config) { c.PieceBytes = 300 })
		defer r.stop()
		r.commit(t, "services", services(200, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		check := func(pieces []*discoveryv1.StreamDeltasResponse, nonce uint64) {
			for i, piece := range pieces {
				size := 0
				for _, r := range piece.GetResources() {
					size += len(r.GetName()) + 30
				}
				if piece.GetNonce() != nonce+uint64(i) || piece.GetCommit() != (i == len(pieces)-1) || size > 600 || len(piece.GetRemoved()) > 30 {
					t.Errorf("piece %d: %d bytes, %v", i, size, piece)
				}
				if piece.GetCommit() != (piece.GetSource() != nil) || i > 0 && len(piece.GetResets()) > 0 {
					t.Errorf("piece %d: %v", i, piece)
				}
			}
		}
		first := c.commit()
		check(first, 1)
		c.ack(&discoveryv1.Ack{ResponseNonce: last(first).GetNonce(), Digest: last(first).GetDigest()})
		r.commit(t, "services")
		second := c.commit()
		check(second, last(first).GetNonce()+1)
		if last(second).GetDigest() != 0 || len(first) < 15 || len(second) < 5 {
			t.Errorf("%d and %d pieces, digest %x", len(first), len(second), last(second).GetDigest())
		}
	})
}

func TestResumingSendsNextToNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(2000, 80)...)
		a := follow(t, "n", r.dial, nil)
		defer a.stop()
		synctest.Wait()
		full := r.server.Stats()
		r.cutConnections()
		time.Sleep(5 * time.Second)
		resumed := r.server.Stats()
		if sent := resumed.Bytes - full.Bytes; a.Status().Reconnects != 1 || resumed.Resources != full.Resources || sent > full.Bytes/100 {
			t.Errorf("sent %d bytes again of %d", sent, full.Bytes)
		}
		changed := append(services(1999, 80), service("d/new", 80))
		r.cutConnections()
		r.commit(t, "services", changed...)
		time.Sleep(5 * time.Second)
		if again := r.server.Stats().Resources - resumed.Resources; again < 1 || again > 20 {
			t.Errorf("%d resources for two changes", again)
		}
		if !maps.Equal(a.holds(), r.holds("n")) || a.Status().DigestMismatches != 0 || r.server.Stats().FullSyncs != 1 {
			t.Errorf("status %+v", a.Status())
		}
	})
}

// cutConnections ends every stream as a restart of the replica does.
func (r *replica) cutConnections() {
	r.server.streams.mu.Lock()
	defer r.server.streams.mu.Unlock()
	for s := range r.server.streams.open {
		s.kick(errShutdown)
	}
}

func TestMovingToAReplicaWithEqualContentSendsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		one, two := newReplica(t, nil), newReplica(t, nil)
		defer one.stop()
		defer two.stop()
		one.commit(t, "early", service("d/gone", 1))
		one.commit(t, "early")
		two.version = one.version // Has seen as much, in other steps.
		for _, r := range []*replica{one, two} {
			r.commit(t, "services", services(500, 80)...)
			r.commit(t, "node", nodeConfig("n", "z1"))
			r.commit(t, "sets", endpointSet("", "d/e", 1), endpointSet("z1", "d/e", 2))
		}
		current := one
		a := follow(t, "n", func(ctx context.Context, address string) (net.Conn, error) { return current.dial(ctx, address) }, nil)
		defer a.stop()
		synctest.Wait()
		current = two
		one.server.Shutdown()
		time.Sleep(5 * time.Second)
		if stats := two.server.Stats(); stats.Streams != 1 || stats.Transactions != 1 || stats.Resources != 0 || stats.DigestMismatches != 0 {
			t.Errorf("stats %+v", stats)
		}
		if two.state("n") != "SYNCED" || one.state("n") != "DISCONNECTED" || !maps.Equal(a.holds(), two.holds("n")) {
			t.Errorf("%s and %s", one.state("n"), two.state("n"))
		}
	})
}

func TestChangesGatherWhileATransactionIsUnacknowledged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		a := follow(t, "n", r.dial, nil)
		defer a.stop()
		synctest.Wait()
		a.mu.Lock()
		a.result = func() subscribe.Result {
			time.Sleep(10 * time.Second)
			return subscribe.Result{Err: errors.New("slow and failing")}
		}
		a.mu.Unlock()
		for port := range uint32(50) {
			r.commit(t, "services", services(3, 1000+port)...)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		if a.transactions() != 3 || !maps.Equal(a.holds(), r.holds("n")) || r.state("n") != "REJECTED" {
			t.Errorf("%d transactions, %s", a.transactions(), r.state("n"))
		}
		if !a.Acknowledge(subscribe.Result{}) {
			t.Error("could not acknowledge again")
		}
		synctest.Wait()
		if stats := r.server.Stats(); r.state("n") != "SYNCED" || stats.Nacks != 2 || stats.StaleAcks != 0 {
			t.Errorf("%s, %+v", r.state("n"), stats)
		}
	})
}

func TestASubscriberThatDoesNotAcknowledgeIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		c.commit()
		time.Sleep(2 * time.Second)
		if r.state("n") != "CONNECTING" {
			t.Errorf("state %s", r.state("n"))
		}
		begun := time.Now()
		c.ends(codes.DeadlineExceeded, "revision 1 (nonce 1) was not acknowledged within 30s")
		if waited := time.Since(begun); waited != 28*time.Second {
			t.Errorf("left after %s more", waited)
		}
	})
}

func TestASubscriberThatDoesNotReadIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, func(c *Config) { c.PieceBytes = 10_000 })
		defer r.stop()
		r.commit(t, "services", services(20_000, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		time.Sleep(29 * time.Second)
		if r.server.Stats().Streams != 1 {
			t.Error("left too early")
		}
		time.Sleep(2 * time.Second)
		if stats := r.server.Stats(); stats.Streams != 0 || stats.AckTimeouts != 1 || len(r.server.admission.slots) != 0 {
			t.Errorf("stats %+v", stats)
		}
		c.ends(codes.DeadlineExceeded, "could not be sent")
	})
}

func TestANewerStreamOfANodeTakesOverWithItsFirstAck(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		older := r.open(t).node("n")
		defer older.close()
		first := last(older.commit())
		older.ack(&discoveryv1.Ack{ResponseNonce: first.GetNonce(), Digest: first.GetDigest()})
		newer := r.open(t).subscribe(&discoveryv1.Subscribe{Node: &discoveryv1.Node{Id: "n", Instance: "newer"}})
		defer newer.close()
		second := last(newer.commit())
		time.Sleep(5 * time.Second)
		if st, _ := r.nodes.Get("n"); st.Instance != "raw" || r.server.Stats().Streams != 2 {
			t.Errorf("status %+v", st)
		}
		newer.ack(&discoveryv1.Ack{ResponseNonce: second.GetNonce(), Digest: second.GetDigest()})
		older.ends(codes.Aborted, `taken over by agent instance "newer"`)
		synctest.Wait()
		if st, _ := r.nodes.Get("n"); st.Instance != "newer" || !st.Connected || r.state("n") != "SYNCED" || r.server.Stats().Takeovers != 1 {
			t.Errorf("status %+v", st)
		}
		newer.close()
		synctest.Wait()
		if r.state("n") != "DISCONNECTED" {
			t.Errorf("state %s", r.state("n"))
		}
	})
}

func TestAnAckOfAnOlderNonceIsIgnoredAndTheLastWordOnTheLatestCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		first := last(c.commit())
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: first.GetDigest()})
		r.commit(t, "services", services(3, 81)...)
		second := last(c.commit())
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: first.GetDigest(), ErrorDetail: &discoveryv1.ErrorDetail{Message: "late"}})
		synctest.Wait()
		if r.state("n") != "PENDING" || r.server.Stats().StaleAcks != 1 {
			t.Errorf("state %s", r.state("n"))
		}
		for _, message := range []string{"ENOMEM", ""} {
			want := "SYNCED"
			ack := &discoveryv1.Ack{ResponseNonce: 2, Digest: second.GetDigest()}
			if message != "" {
				want = "REJECTED"
				ack.ErrorDetail = &discoveryv1.ErrorDetail{Code: uint32(codes.Internal), Message: message}
			}
			c.ack(ack)
			synctest.Wait()
			if st, _ := r.nodes.Get("n"); r.state("n") != want || (message != "") != (st.LastError == "Internal: ENOMEM") {
				t.Errorf("after %q: %s, %+v", message, r.state("n"), st)
			}
		}
	})
}

// TestAnAckOfAnOlderNonceLetsNothingOut: the next change waits for the latest Ack.
func TestAnAckOfAnOlderNonceLetsNothingOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		first := last(c.commit())
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: first.GetDigest()})
		r.commit(t, "services", services(3, 81)...)
		second := last(c.commit())
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: first.GetDigest()})
		r.commit(t, "services", services(3, 82)...)
		time.Sleep(time.Second)
		if sent := r.server.Stats().Transactions; sent != 2 {
			t.Errorf("%d transactions, want 2 until the second is acknowledged", sent)
		}
		c.ack(&discoveryv1.Ack{ResponseNonce: 2, Digest: second.GetDigest()})
		if third := last(c.commit()); third.GetNonce() != 3 {
			t.Errorf("nonce %d, want 3", third.GetNonce())
		}
	})
}

// TestToResumeWithoutANodeConfigIsNoFullSync: it need not be admitted as one.
func TestToResumeWithoutANodeConfigIsNoFullSync(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(100, 80)...)
		r.commit(t, "node", nodeConfig("n", "z1"))
		held := r.holds("n")
		delete(held, resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: "n"})
		a := follow(t, "n", r.dial, func(c *subscribe.Config) { c.Held, c.Handler.(*agent).held = held, maps.Clone(held) })
		defer a.stop()
		synctest.Wait()
		if stats := r.server.Stats(); !maps.Equal(a.holds(), r.holds("n")) || stats.FullSyncs != 0 || stats.Resources != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestADigestMismatchMakesTheSubscriberResumeAndIsRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(100, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		c.commit()
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: 42})
		c.ends(codes.Aborted, "digest mismatch: resume")
		if r.server.Stats().DigestMismatches != 1 {
			t.Errorf("stats %+v", r.server.Stats())
		}
		// What was wrong is what is repaired: one Service with another version, one
		// that does not exist, one missing.
		held := r.holds("n")
		name := func(s string) resource.Name { return resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: s} }
		held[name("d/s1")]++
		held[name("d/ghost")] = 1
		delete(held, name("d/s2"))
		a := follow(t, "n", r.dial, func(c *subscribe.Config) { c.Held, c.Handler.(*agent).held = held, maps.Clone(held) })
		defer a.stop()
		synctest.Wait()
		if !maps.Equal(a.holds(), r.holds("n")) || r.state("n") != "SYNCED" || r.server.Stats().Resources > 110 {
			t.Errorf("%s, %+v", r.state("n"), r.server.Stats())
		}
	})
}
