package discovery

import (
	"testing"
	"testing/synctest"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// observe subscribes and half-closes at once, as grpcurl does.
func (r *replica) observe(t testing.TB, kinds ...discoveryv1.Kind) *client {
	c := r.open(t).subscribe(&discoveryv1.Subscribe{Node: &discoveryv1.Node{Id: "n"}, Kinds: kinds})
	_ = c.stream.CloseSend()
	return c
}

func TestAnObserverSeesChangesAtABoundedRateAndIsNotANode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		c := r.observe(t)
		defer c.close()
		c.commit()
		received := make(chan uint64, 100)
		go func() {
			for {
				piece, err := c.stream.Recv()
				if err != nil {
					return
				}
				received <- piece.GetRevision()
			}
		}()
		for port := range uint32(100) {
			r.commit(t, "services", services(3, 1000+port)...)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if n := len(received); n < 9 || n > 12 {
			t.Errorf("%d transactions in 10 s", n)
		}
		var newest uint64
		for len(received) > 0 {
			newest = <-received
		}
		if newest != r.store.Current().Revision {
			t.Errorf("saw revision %d of %d", newest, r.store.Current().Revision)
		}
		if stats := r.server.Stats(); stats.Observers != 1 || stats.AckTimeouts != 0 || r.state("n") != "unknown" {
			t.Errorf("%s, %+v", r.state("n"), stats)
		}
		c.close()
		synctest.Wait()
		if stats := r.server.Stats(); stats.Observers != 0 || stats.Streams != 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

func TestAnObserverDoesNotTakeItsNodesStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		a := follow(t, "n", r.dial, nil)
		defer a.stop()
		synctest.Wait()
		c := r.observe(t)
		defer c.close()
		c.commit()
		time.Sleep(time.Minute)
		if a.Status().Reconnects != 0 || r.state("n") != "SYNCED" || r.server.Stats().Streams != 2 {
			t.Errorf("%s, %+v", r.state("n"), a.Status())
		}
	})
}

func TestKindsThatWereNotAskedForAreNotSentAndDoNotCountInTheDigest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		r.commit(t, "sets", endpointSet("", "d/e", 1))
		c := r.observe(t, discoveryv1.Kind_KIND_ENDPOINT_SET, 99)
		defer c.close()
		first := last(c.commit())
		if len(first.GetResources()) != 1 || len(first.GetResets()) != 1 || first.GetDigest() != kindsOf([]discoveryv1.Kind{2}).digest(r.store.Current().View("n")) {
			t.Errorf("got %v", first)
		}
		r.commit(t, "services", services(2, 81)...)
		time.Sleep(time.Minute)
		r.commit(t, "sets", endpointSet("", "d/e", 2))
		if second := last(c.commit()); second.GetNonce() != 2 || len(second.GetResources()) != 1 || len(second.GetRemoved()) != 0 {
			t.Errorf("got %v", second)
		}
	})
}

func TestANodeThatHalfClosesIsNoLongerWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		first := last(c.commit())
		c.ack(&discoveryv1.Ack{ResponseNonce: 1, Digest: first.GetDigest()})
		synctest.Wait()
		_ = c.stream.CloseSend()
		for port := range uint32(3) {
			r.commit(t, "services", services(3, 1000+port)...)
			c.commit()
			time.Sleep(time.Minute)
		}
		if r.state("n") != "DISCONNECTED" || r.server.streams.claimed("n") {
			t.Errorf("state %s", r.state("n"))
		}
	})
}

// TestWhatIsPushedIsToldBeforeItsAnswer, with the revisions that it leads from and to, unless
// it is the first of a stream or goes to an observer.
func TestWhatIsPushedIsToldBeforeItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		pushed, answers := make(chan Pushed, 10), make(chan Acknowledged, 10)
		r := newReplica(t, func(c *Config) {
			c.Pushed = func(p Pushed) { pushed <- p }
			c.Observe = func(a Acknowledged) { answers <- a }
		})
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		began := time.Now()
		c := r.open(t).node("n")
		defer c.close()
		answer := func(from, to uint64, full bool, reason string, detail *discoveryv1.ErrorDetail) {
			t.Helper()
			sent := last(c.commit())
			time.Sleep(time.Second)
			c.ack(&discoveryv1.Ack{ResponseNonce: sent.GetNonce(), Digest: sent.GetDigest(), ErrorDetail: detail})
			synctest.Wait()
			a, want := <-answers, Pushed{Node: "n", From: from, To: to, At: began}
			if a.Pushed != want {
				t.Errorf("answered %+v, want %+v", a.Pushed, want)
			}
			if from > 0 {
				if p := <-pushed; p != want {
					t.Errorf("pushed %+v, want %+v", p, want)
				}
			}
			if a.Received.Sub(a.At) != time.Second || a.FullSync != full || a.Reason != reason || a.Failed() != (detail != nil) {
				t.Errorf("%+v", a)
			}
		}
		answer(0, 1, true, "", nil)
		began = time.Now()
		r.commit(t, "services", services(3, 81)...)
		synctest.Wait()
		r.commit(t, "services", services(3, 82)...)
		r.commit(t, "services", services(3, 83)...)
		answer(1, 2, false, "Internal: no room", &discoveryv1.ErrorDetail{Code: 13, Message: "no room"})
		began = time.Now()
		answer(2, 4, false, "", nil)
		o := r.observe(t)
		defer o.close()
		o.commit()
		synctest.Wait()
		r.commit(t, "services", services(3, 84)...)
		o.commit()
		c.commit()
		if synctest.Wait(); len(pushed) != 1 {
			t.Errorf("%d transactions were told of, want the node's alone", len(pushed))
		}
	})
}
