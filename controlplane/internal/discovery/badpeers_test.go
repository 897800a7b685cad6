package discovery

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
	"github.com/portolan-net/portolan/controlplane/internal/limit"
)

// beside runs a test of a bad peer with an agent of another node beside it, which must
// be told of a change within a moment, while the peer is there and afterwards.
func beside(t *testing.T, configure func(*Config), test func(*replica)) {
	t.Helper()
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, configure)
		defer r.stop()
		r.commit(t, "services", weighty(300, 80, 1500)...)
		good := follow(t, "good", r.dialFrom(1), nil)
		defer good.stop()
		time.Sleep(time.Second)
		test(r)
		r.commit(t, "more", service("more/one", 80))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if len(good.holds()) != 301 || r.state("good") != "SYNCED" {
			t.Errorf("the other agent holds %d, %s", len(good.holds()), r.state("good"))
		}
		if good.Status().Reconnects > 0 {
			t.Error("the other agent lost its stream")
		}
	})
}

func TestAPeerThatOpensManyStreamsOnOneConnectionHasFour(t *testing.T) {
	beside(t, nil, func(r *replica) {
		c := openVia(t, r.dialFrom(2))
		defer c.close()
		for range 1000 {
			go func() {
				stream, err := discoveryv1.NewDiscoveryServiceClient(c.conn).StreamDeltas(c.stream.Context())
				if err == nil {
					_, _ = stream.Recv()
				}
			}()
		}
		time.Sleep(time.Second)
		if open := r.server.Stats().Streams; open != 1+agentStreams {
			t.Errorf("%d streams are open", open)
		}
	})
}

func TestAPeerThatOpensManyConnectionsIsSentAway(t *testing.T) {
	slow := func(c *Config) { c.PeerRate = limit.Rate{Burst: 20, Every: time.Second} }
	beside(t, slow, func(r *replica) {
		const many = 200
		for range many {
			c := openVia(t, r.dialFrom(2)).node("bad")
			defer c.close()
		}
		synctest.Wait()
		if stats := r.server.Stats(); stats.Streams > 22 || stats.PeerLimited < many-25 {
			t.Errorf("%+v", stats)
		}
		refused := openVia(t, r.dialFrom(2)).node("bad")
		defer refused.close()
		refused.ends(codes.ResourceExhausted, "peer 10.0.0.2 opens streams too fast: come back in 30s")
	})
}

// TestAPeerThatDoesNotReadHoldsNobodyUp, not even where full syncs go one by one.
func TestAPeerThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	one := func(c *Config) { c.FullSyncs, c.PieceBytes = 1, 16<<10 }
	beside(t, one, func(r *replica) {
		c := openVia(t, r.dialFrom(2)).node("bad")
		defer c.close()
		synctest.Wait()
		if len(r.server.admission.slots) != 1 {
			t.Error("the peer that does not read is not being synced")
		}
		begun := time.Now()
		other := openVia(t, r.dialFrom(3)).node("other")
		defer other.close()
		other.commit()
		if waited := time.Since(begun); waited > defaultSlotTimeout {
			t.Errorf("another waited %s", waited)
		}
		time.Sleep(time.Minute)
		if stats := r.server.Stats(); stats.AckTimeouts != 2 || stats.Streams != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestAPeerThatAcknowledgesNothingOrGarbageIsLeft(t *testing.T) {
	beside(t, nil, func(r *replica) {
		silent := openVia(t, r.dialFrom(2)).node("silent")
		defer silent.close()
		silent.commit()
		garbage := openVia(t, r.dialFrom(3)).node("garbage")
		defer garbage.close()
		garbage.commit()
		garbage.ack(&discoveryv1.Ack{ResponseNonce: 1 << 60})
		garbage.ends(codes.InvalidArgument, "was never sent")
		silent.ends(codes.DeadlineExceeded, "was not acknowledged within 30s")
		if stats := r.server.Stats(); stats.Invalid != 1 || stats.AckTimeouts != 1 || stats.Streams != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestAPeerThatComesAgainAndAgainIsSentAway(t *testing.T) {
	beside(t, nil, func(r *replica) {
		for range 100 {
			c := openVia(t, r.dialFrom(2)).node("bad")
			c.ack(&discoveryv1.Ack{})
			_, _ = c.stream.Recv()
			c.close()
		}
		synctest.Wait()
		if stats := r.server.Stats(); stats.NodeLimited != 90 || stats.FullSyncs > 11 {
			t.Errorf("%+v", stats)
		}
		if status, _ := r.nodes.Get("bad"); !strings.Contains(status.LastError, `streams of node "bad" are opened too fast`) {
			t.Errorf("it is said of the node: %q", status.LastError)
		}
	})
}

func TestTwoAgentsOfOneNameAreSeen(t *testing.T) {
	beside(t, nil, func(r *replica) {
		for i := range 2 {
			a := follow(t, "bad", r.dialFrom(2+i), func(c *subscribe.Config) { c.Node.Instance = fmt.Sprint("pod-", i) })
			defer a.stop()
		}
		time.Sleep(10 * time.Minute)
		stats := r.server.Stats()
		if stats.Takeovers < 10 || stats.Transactions > 1000 {
			t.Errorf("not seen, or not bounded: %+v", stats)
		}
		if status, _ := r.nodes.Get("bad"); !strings.Contains(status.Refused, "agents of this name take the node from each other: pod-") {
			t.Errorf("it is said of the node: %q", status.Refused)
		}
	})
}

func TestAHugeRequestIsRefused(t *testing.T) {
	beside(t, nil, func(r *replica) {
		c := openVia(t, r.dialFrom(2))
		defer c.close()
		c.subscribe(&discoveryv1.Subscribe{Node: &discoveryv1.Node{Id: "bad", AgentVersion: strings.Repeat("v", 8*maxRequest)}})
		c.ends(codes.ResourceExhausted, "larger than max")
		synctest.Wait() // grpc refuses it before the stream's own goroutines have ended.
		if stats := r.server.Stats(); stats.Oversized != 1 || stats.Streams != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestMoreStreamsThanMayBeOpenAreToComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, func(c *Config) { c.MaxStreams = 2 })
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		var agents []*agent
		for i := range 3 {
			agents = append(agents, follow(t, "n"+string(rune('a'+i)), r.dialFrom(i), nil))
			synctest.Wait()
		}
		if stats := r.server.Stats(); stats.Streams != 2 || stats.Overfull != 1 || agents[2].Status().Connected {
			t.Errorf("%+v", stats)
		}
		agents[0].stop()
		time.Sleep(maxWait + 5*time.Second)
		if !agents[2].Status().Connected || r.server.Stats().Overfull != 1 {
			t.Errorf("%+v, %+v", agents[2].Status(), r.server.Stats())
		}
		agents[1].stop()
		agents[2].stop()
	})
}

func TestStreamsEndAtTheirAgeWhileNothingIsOnItsWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		var agents []*agent
		for i := range 20 {
			a := follow(t, "n"+string(rune('a'+i)), r.dialFrom(i), nil)
			defer a.stop()
			agents = append(agents, a)
		}
		time.Sleep(26 * time.Minute)
		if aged := r.server.Stats().Aged; aged != 0 {
			t.Errorf("%d ended early", aged)
		}
		time.Sleep(4 * time.Minute)
		if aged := r.server.Stats().Aged; aged == 0 || aged == 20 {
			t.Errorf("%d of 20 ended after 30 min: they all end at once", aged)
		}
		time.Sleep(4 * time.Minute)
		for i, a := range agents {
			if st := a.Status(); st.Reconnects != 1 || !st.Connected || st.Transactions != 2 {
				t.Errorf("agent %d: %+v", i, st)
			}
		}
		if stats := r.server.Stats(); stats.Aged != 20 || stats.FullSyncs != 20 || stats.Resources != 60 {
			t.Errorf("%+v", stats)
		}
	})
}
