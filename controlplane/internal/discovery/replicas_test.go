package discovery

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// kernel is a Handler that counts the transactions that would reach a kernel, and the
// times that one went back.
type kernel struct {
	mu                  sync.Mutex
	ports               map[string]uint32
	transactions, backs int
}

func (k *kernel) Apply(_ context.Context, tx *subscribe.Transaction) subscribe.Result {
	k.mu.Lock()
	defer k.mu.Unlock()
	if tx.Resources.Len()+len(tx.Removed) > 0 {
		k.transactions++
	}
	k.backs += len(tx.Removed) // Nothing is removed in this story.
	for r := range tx.Resources.All() {
		port := r.GetService().GetPorts()[0].GetPort()
		if port < k.ports[r.GetName()] {
			k.backs++
		}
		k.ports[r.GetName()] = port
	}
	return subscribe.Result{}
}

// state returns how many transactions there were, and how many Services have the port.
func (k *kernel) state(port uint32) (transactions, backs, current int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.ports {
		if p == port {
			current++
		}
	}
	return k.transactions, k.backs, current
}

// TestAnAgentThatMovesBetweenReplicasEverySecond has no kernel transaction while they
// serve the same, one for each change, and never goes back to what a replica still
// serves that is behind.
func TestAnAgentThatMovesBetweenReplicasEverySecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		replicas := map[string]*replica{}
		for _, address := range []string{"cp:1", "cp:2", "cp:3"} {
			replicas[address] = newReplica(t, nil)
			defer replicas[address].stop()
		}
		one, two, behind := replicas["cp:1"], replicas["cp:2"], replicas["cp:3"]
		commit := func(port uint32, to ...*replica) {
			for _, r := range to {
				r.commit(t, "services", services(100, port)...)
			}
		}
		commit(1, one, two, behind)
		k := &kernel{ports: map[string]uint32{}}
		s, err := subscribe.New(subscribe.Config{
			Addresses: []string{"cp:1", "cp:2", "cp:3"}, Handler: k, Node: &discoveryv1.Node{Id: "n", Instance: "1"}, Rand: rand.New(rand.NewPCG(1, 2)),
			DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
					return replicas[address].dial(ctx, address)
				})},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Run(ctx) }()
		defer func() { cancel(); <-done }()
		move := func(seconds int) {
			for range seconds {
				time.Sleep(time.Second)
				for _, r := range replicas {
					r.cutConnections()
				}
			}
		}
		expect := func(when string, transactions int, port uint32) {
			t.Helper()
			time.Sleep(5 * time.Second)
			if got, backs, current := k.state(port); got != transactions || backs > 0 || current != 100 {
				t.Errorf("%s: %d kernel transactions, want %d; %d times back; %d of 100 Services current", when, got, transactions, backs, current)
			}
		}
		move(60)
		expect("equal replicas", 1, 1)
		if moved := s.Status().Reconnects; moved < 30 {
			t.Errorf("moved %d times", moved)
		}
		const changes = 12
		for port := range uint32(changes) {
			commit(2+port, one, two)
			move(5)
		}
		expect("one replica behind", 1+changes, 1+changes)
		behind.version = one.version - 1
		commit(1+changes, behind)
		move(60)
		expect("equal again", 1+changes, 1+changes)
		used := []uint64{one.server.Stats().Acks, two.server.Stats().Acks, behind.server.Stats().Acks}
		if slices.Min(used) < 10 {
			t.Errorf("the replicas were acknowledged %v transactions", used)
		}
	})
}

// TestANodeDoesNotGoBackAfterAReplicaThatMissedWhatWasUndone: a Service comes and goes.
// One replica saw both at once, which is no change to it; a node that has been there
// knows of the end all the same, and does not take the Service from one that is behind.
func TestANodeDoesNotGoBackAfterAReplicaThatMissedWhatWasUndone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		saw, missed, behind := newReplica(t, nil), newReplica(t, nil), newReplica(t, nil)
		for _, r := range []*replica{saw, missed, behind} {
			defer r.stop()
			r.commit(t, "services", services(1, 80)...)
		}
		saw.commit(t, "services", services(2, 80)...)
		behind.commit(t, "services", services(2, 80)...)
		missed.version++
		missed.commit(t, "services", services(1, 80)...)
		var at atomic.Pointer[replica]
		at.Store(saw)
		a := follow(t, "n", func(ctx context.Context, address string) (net.Conn, error) { return at.Load().dial(ctx, address) }, nil)
		defer a.stop()
		for _, step := range []struct {
			to   *replica
			want int
		}{{saw, 2}, {missed, 1}, {behind, 1}} {
			at.Swap(step.to).cutConnections()
			time.Sleep(10 * time.Second)
			if got := len(a.holds()); got != step.want {
				t.Errorf("holds %d Services, want %d", got, step.want)
			}
		}
	})
}
