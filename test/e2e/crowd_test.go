package e2e_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

const (
	// crowd is how many agents there are beside the one with a kernel.
	crowd = 1000
	// crowdServices fit into the ServiceCIDR and make a full sync worth saving.
	crowdServices = 100
	// quiet is longer than the agent keeps what changes left for packets in flight.
	quiet = 2500 * time.Millisecond
)

// TestACrowdMovesBetweenReplicas kills each of two replicas in turn while a thousand
// agents without kernels, and one with a kernel and traffic, are connected. After each
// change all of them must hold what the replica that is left says; what they hold
// already must not be sent again, nor put into a kernel again.
func TestACrowdMovesBetweenReplicas(t *testing.T) {
	f := newFleet(t)
	stream := traffic.Start(f.at.client, f.web.address, 2*time.Millisecond)

	f.change(t, "with both replicas", func() {}, f.a, f.b)
	f.change(t, "with one replica killed", f.a.process.Kill, f.b)
	f.restart(t, f.a)
	f.change(t, "with that one back and the other killed", f.b.process.Kill, f.a)
	f.restart(t, f.b)
	f.expectSynced(t, f.a, f.b)

	check(t, stream.Make(100, time.Minute))
	result := stream.Stop()
	t.Log(result)
	if len(result.Failures) > 0 {
		t.Errorf("%v; want no failure", result)
	}
}

// fleet is an API server, two replicas, and all their agents.
type fleet struct {
	server  *apiserver.Server
	objects *cluster.Cluster
	at      *place
	web     *shuttle
	a, b    *replica
	// whole is how many bytes of resources an agent was sent that had nothing.
	whole float64
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{at: newPlace(t, "crowded", "192.168.78.10")}
	f.server = need(apiserver.Start(t.Context(), t.TempDir(), "--request-timeout=3s"))(t)
	t.Cleanup(f.server.Stop)
	f.objects = need(cluster.New(t.Context(), f.server.Client, "crowd"))(t)
	f.at.register(t, f.objects)
	check(t, f.objects.Fill(t.Context(), 0, crowdServices))
	f.web = newShuttle(t, f.objects, f.at)
	f.a, f.b = startReplica(t, f.server, lab.Hub, 9460), startReplica(t, f.server, lab.Hub, 9470)
	f.startAgents(t)
	return f
}

// startAgents starts all agents, which have nothing yet.
func (f *fleet) startAgents(t *testing.T) {
	t.Helper()
	eventually(t, f.a.ready)
	eventually(t, f.b.ready)
	begun := time.Now()
	product.Start(t, "crowd", "--servers", f.a.agents+","+f.b.agents, "--nodes", strconv.Itoa(crowd))
	product.StartOn(t, f.at.node.Host(), "portolan-agent", "--node", f.at.name, "--insecure",
		"--checkpoint-file", filepath.Join(t.TempDir(), "checkpoint"), "--server", f.a.agents, "--server", f.b.agents)
	f.expectSynced(t, f.a, f.b)
	t.Logf("all agents hold everything after %v", time.Since(begun).Round(time.Millisecond))
	if got := f.a.figure(t, fullSyncs) + f.b.figure(t, fullSyncs); got != crowd+1 {
		t.Errorf("%v full syncs of %d agents that had nothing", got, crowd+1)
	}
	f.whole = (f.a.figure(t, sentBytes) + f.b.figure(t, sentBytes)) / (crowd + 1)
	eventually(t, func() error { return f.web.reached(f.at) })
}

// restart starts a replica that was killed. That moves nobody.
func (f *fleet) restart(t *testing.T, r *replica) {
	t.Helper()
	r.again()
	eventually(t, r.ready)
}

// change does something to the replicas and edits the Service. All agents must come
// to hold what the replicas that are left have, which must cost neither those nor the
// kernel more than the edit.
func (f *fleet) change(t *testing.T, what string, do func(), left ...*replica) {
	t.Helper()
	time.Sleep(quiet)
	transactions := need(f.at.node.Host().Generation())(t)
	before := make([]figures, len(left))
	for i, r := range left {
		before[i] = r.figures(t)
	}

	begun := time.Now()
	do()
	f.web.move(t)
	eventually(t, func() error { return f.web.reached(f.at) })
	moved := time.Since(begun)
	for i, r := range left {
		r.expectNewerThan(t, before[i].revision)
	}
	f.expectSynced(t, left...)
	t.Logf("%s: traffic follows an edit after %v, all agents do after %v", what, moved.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))

	for i, r := range left {
		f.expectCheap(t, what, before[i], r.figures(t))
	}
	time.Sleep(quiet)
	if got := need(f.at.node.Host().Generation())(t) - transactions; got != 1 {
		t.Errorf("%s: %d transactions of the kernel for one edit, want 1", what, got)
	}
}

// expectSynced waits until the replicas together say of every agent that it holds
// their current revision, which they compare by digest.
func (f *fleet) expectSynced(t *testing.T, replicas ...*replica) {
	t.Helper()
	within(t, time.Minute, func() error {
		time.Sleep(100 * time.Millisecond) // Asking is no load to speak of then.
		all := 0
		for _, r := range replicas {
			synced, err := r.synced(t)
			if err != nil {
				return err
			}
			all += synced
		}
		if all != crowd+1 {
			return fmt.Errorf("%d agents are connected and synced, want %d", all, crowd+1)
		}
		return nil
	})
}

// expectCheap checks what a replica has sent for an edit, though agents moved to it.
func (f *fleet) expectCheap(t *testing.T, what string, before, after figures) {
	t.Helper()
	const fraction = 10
	bytes := (after.bytes - before.bytes) / (crowd + 1)
	t.Logf("%s: %.0f bytes of resources sent to each agent, of %.0f in all", what, bytes, f.whole)
	if bytes > f.whole/fraction {
		t.Errorf("%s: %.0f bytes sent to each agent, want at most 1/%d of %.0f", what, bytes, fraction, f.whole)
	}
	if after.fullSyncs != before.fullSyncs {
		t.Errorf("%s: %v full syncs, want none", what, after.fullSyncs-before.fullSyncs)
	}
	if after.mismatches != before.mismatches {
		t.Errorf("%s: %v digests were not the replica's", what, after.mismatches-before.mismatches)
	}
}
