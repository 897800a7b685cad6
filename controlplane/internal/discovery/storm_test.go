package discovery

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/api/subscribe"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// slowly is a connection that takes a while for whatever it reads.
type slowly struct {
	net.Conn
	pace time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pace)
	return s.Conn.Read(p)
}

// weighty makes n Services that do not fit the windows of a connection, so that a full
// sync takes as long as the subscriber reads.
func weighty(n int, port uint32, bytes int) []snapshot.Scoped {
	list := services(n, port)
	for _, s := range list {
		s.Resource.GetService().ExternalIps = []string{strings.Repeat("x", bytes)}
	}
	return list
}

// crowd is many agents, each with an address of its own, which follow the replica that
// is current.
type crowd struct {
	at     atomic.Pointer[replica]
	agents []*agent
}

func gather(t *testing.T, r *replica, n int) *crowd {
	t.Helper()
	c := &crowd{}
	c.at.Store(r)
	for i := range n {
		dial := func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := c.at.Load().dialFrom(i)(ctx, address)
			if err != nil {
				return nil, err
			}
			return &slowly{conn, 20 * time.Millisecond}, nil
		}
		c.agents = append(c.agents, follow(t, fmt.Sprintf("n%d", i), dial, smallWindows))
	}
	return c
}

// smallWindows makes a full sync of few resources as slow as one of many.
func smallWindows(c *subscribe.Config) {
	const window = 64 << 10
	c.DialOptions = append(c.DialOptions, grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window))
}

func (c *crowd) stop() {
	for _, a := range c.agents {
		a.stop()
	}
}

// settle waits until every agent holds n Services of the replica, and returns how long
// that took and the most full syncs that ran at a time.
func (c *crowd) settle(t *testing.T, patience time.Duration) (took time.Duration, most int) {
	t.Helper()
	want := c.at.Load().holds("")
	held := func(a *agent) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.held) != len(want) {
			return false
		}
		for name, version := range want {
			if a.held[name] != version {
				return false
			}
		}
		return true
	}
	begun, done := time.Now(), 0
	for ; time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		most = max(most, len(c.at.Load().server.admission.slots))
		for done < len(c.agents) && held(c.agents[done]) {
			done++
		}
		if done == len(c.agents) {
			return time.Since(begun), most
		}
	}
	t.Fatalf("%d of %d agents hold everything after %s", done, len(c.agents), patience)
	return 0, 0
}

// TestAStormIsServed: subscribers that all come at once, with nothing, and again, with
// everything out of date, when a replica takes another's place. Each is a full sync; no
// more run at a time than may, most are told to come back, and nobody waits longer than
// a quarter of a minute. Where nothing is out of date all are back within 4 s.
func TestAStormIsServed(t *testing.T) {
	const patience = 15 * time.Second
	inBubble(t, func(t *testing.T) {
		// grpc takes the first piece without waiting for the subscriber.
		inPieces := func(c *Config) { c.PieceBytes, c.FullSyncQueue = 16<<10, storm/4 }
		first := newReplica(t, inPieces)
		first.commit(t, "services", weighty(300, 80, 500)...)
		c := gather(t, first, storm)
		defer c.stop()
		took, most := c.settle(t, patience)
		t.Logf("%d agents that hold nothing: %s, %d full syncs at a time", storm, took, most)
		if most > defaultFullSyncs || most == 0 {
			t.Errorf("%d full syncs at a time", most)
		}
		second := newReplica(t, inPieces)
		defer second.stop()
		second.version = first.version
		second.commit(t, "services", weighty(300, 81, 500)...)
		c.at.Store(second)
		first.stop()
		took, most = c.settle(t, patience)
		t.Logf("%d agents that come again: %s, %d full syncs at a time", storm, took, most)
		stats := second.server.Stats()
		third := newReplica(t, inPieces)
		defer third.stop()
		third.version = second.version - 1
		third.commit(t, "services", weighty(300, 81, 500)...)
		c.at.Store(third)
		second.stop()
		time.Sleep(4 * time.Second)
		if same := third.server.Stats(); same.Streams != storm || same.Resources != 0 || same.Refused != 0 {
			t.Errorf("after 4 s at a replica with equal content: %+v", same)
		}
		if most > defaultFullSyncs || stats.FullSyncs != storm || stats.Streams != storm || stats.Refused == 0 {
			t.Errorf("%d full syncs at a time, stats %+v", most, stats)
		}
	})
}
