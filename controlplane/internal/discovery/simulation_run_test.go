package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// violation is a promise that was broken.
type violation string

const (
	// early: a transaction was acknowledged before its handler had returned.
	early violation = "early ACK"
	// torn: what a node holds was never to be held at that revision.
	torn violation = "torn state"
	// back: a node went back, to an earlier revision of one replica or in the cluster's history.
	back violation = "back in time"
	// mismatch: digests differed, which must not happen even though it is repaired.
	mismatch violation = "digest mismatch"
	// invalid: the server had to refuse a request.
	invalid violation = "invalid request"
	// unsettled: after a quiet point a node does not hold its view, or the server's
	// record of it is wrong.
	unsettled violation = "not settled"
)

const replicas = 3

// setup is what a history starts from.
type setup struct {
	seed             uint64
	followers, steps int
	pieceBytes       int
	// observers are the last of the followers: they acknowledge nothing.
	observers int
	// log is how many commits a replica's change log has, fullSyncs how many it allows at a
	// time, and wait for, or zero for the usual.
	log, fullSyncs int
	// mutant, if not nil, is a bug between the subscriber and the wire.
	mutant func(*link) grpc.ClientStream
}

// ordinary draws the setup of most histories.
func ordinary(seed uint64) setup {
	r := rand.New(rand.NewPCG(seed, 2))
	s := setup{seed: seed, followers: 1 + r.IntN(6), steps: 5 + r.IntN(20), pieceBytes: 60 + r.IntN(2000)}
	if r.IntN(3) == 0 {
		s.log = 1 + r.IntN(4)
	}
	if r.IntN(3) == 0 {
		s.fullSyncs = 1
	}
	if r.IntN(3) == 0 {
		s.observers = r.IntN(s.followers)
	}
	return s
}

// outcome is what came of a history.
type outcome struct {
	setup      setup
	violations map[violation]int
	// told is the story: steps and violations in their order.
	told []string
	// Of what happened there must be some.
	transactions, fullSyncs, takeovers, refused, nacks uint64
	reconnects, overtaken                              uint64
}

// simulation is a history that runs.
type simulation struct {
	t         testing.TB
	setup     setup
	world     world
	sites     []*site
	followers []*follower
	began     time.Time

	// mu guards what follows, and which process runs at a site.
	mu  sync.Mutex
	out outcome
}

// simulate runs one history in a bubble of its own.
func simulate(t *testing.T, s setup) outcome {
	var out outcome
	synctest.Test(t, func(t *testing.T) {
		sim := &simulation{t: t, setup: s, began: time.Now(), out: outcome{setup: s, violations: map[violation]int{}}}
		sim.begin()
		for _, step := range plan(s) {
			sim.tell("%s", step.text)
			step.do(sim)
			time.Sleep(step.wait)
		}
		sim.quiet()
		sim.end()
		out = sim.out
	})
	return out
}

func (sim *simulation) begin() {
	for i := range replicas {
		sim.sites = append(sim.sites, newSite(sim.t, addressOf(i), sim.setup))
	}
	sim.world.edits = []edit{{"o0", services(5, 80)}}
	for _, s := range sim.sites {
		s.see(sim.t, &sim.world, 1, true)
	}
	for i := range sim.setup.followers {
		f := &follower{
			sim: sim, name: fmt.Sprintf("n%d", i), observes: i >= sim.setup.followers-sim.setup.observers, seed: sim.setup.seed<<16 + uint64(i), walls: map[*site]chan struct{}{},
			address: &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i)), Port: 1024},
		}
		sim.followers = append(sim.followers, f)
		f.start(checkpoint{})
	}
}

// end stops everything and sums up.
func (sim *simulation) end() {
	for _, f := range sim.followers {
		f.stop()
		st := f.subscriber.Status()
		if n := f.mismatches + st.DigestMismatches; n > 0 {
			sim.violate(mismatch, "%s: %d times the digest was not the server's", f.name, n)
		}
		sim.out.reconnects += st.Reconnects
	}
	for _, s := range sim.sites {
		s.stop()
		for _, p := range s.earlier {
			sim.sum(s.address, p.server.Stats())
		}
	}
}

func (sim *simulation) sum(address string, st Stats) {
	sim.out.transactions += st.Transactions
	sim.out.fullSyncs += st.FullSyncs
	sim.out.takeovers += st.Takeovers
	sim.out.overtaken += st.Overtaken
	sim.out.refused += st.Refused + st.NodeLimited + st.PeerLimited
	sim.out.nacks += st.Nacks
	if st.DigestMismatches > 0 {
		sim.violate(mismatch, "%s: %d times a node's digest was not what it must be", address, st.DigestMismatches)
	}
	if st.Invalid > 0 {
		sim.violate(invalid, "%s: %d requests made no sense", address, st.Invalid)
	}
}

func (sim *simulation) tell(format string, args ...any) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	sim.out.told = append(sim.out.told, fmt.Sprintf("%9.3fs  %s", time.Since(sim.began).Seconds(), fmt.Sprintf(format, args...)))
}

func (sim *simulation) violate(v violation, format string, args ...any) {
	sim.tell("!! "+string(v)+": "+format, args...)
	sim.mu.Lock()
	defer sim.mu.Unlock()
	sim.out.violations[v]++
}

func (sim *simulation) addresses() []string {
	var list []string
	for _, s := range sim.sites {
		list = append(list, s.address)
	}
	return list
}

func (sim *simulation) site(target string) *site {
	address := strings.TrimPrefix(target, "passthrough:///")
	return sim.sites[slices.IndexFunc(sim.sites, func(s *site) bool { return s.address == address })]
}

func (sim *simulation) running(s *site) *process {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	return s.process
}

// restart replaces a replica's process, which ends with all its connections.
func (sim *simulation) restart(s *site) {
	s.stop()
	sim.mu.Lock()
	defer sim.mu.Unlock()
	s.start(sim.t)
}

// patience is how long after a quiet point everything must be settled: as long as a
// dead connection may go unnoticed, and then the pauses of many that come together.
const patience = 3 * time.Minute

// quiet ends all trouble and waits until every node has what it must have.
func (sim *simulation) quiet() {
	sim.tell("quiet: all is healed, every replica sees everything")
	for _, f := range sim.followers {
		for _, s := range sim.sites {
			f.heal(s, f.wall(s))
		}
		f.cutAfter(-1)
	}
	for _, s := range sim.sites {
		s.see(sim.t, &sim.world, len(sim.world.edits), true)
	}
	since := time.Now()
	for pause := time.Second; ; pause *= 2 {
		time.Sleep(pause)
		synctest.Wait()
		open := sim.open()
		if len(open) == 0 {
			return
		}
		if time.Since(since) > patience {
			for _, o := range open[:min(3, len(open))] {
				sim.violate(unsettled, "%s", o)
			}
			return
		}
	}
}

// open lists what is not as it must be at a quiet point.
func (sim *simulation) open() []string {
	var list []string
	for _, f := range sim.followers {
		if why := f.lacks(); why != "" {
			list = append(list, f.name+": "+why)
		}
	}
	return list
}

// lacks says what is not settled of a node: what it holds, the digest that it last
// sent, and what the server knows of it.
func (f *follower) lacks() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	st, l := f.subscriber.Status(), f.link
	if !st.Connected || l == nil || l.process == nil {
		return "not connected: " + st.LastError
	}
	p := l.site.process
	if l.process != p {
		return "connected to a process that has ended"
	}
	if want := f.sim.world.expected(f.name); !maps.Equal(f.now.held, want) {
		return differences(f.now.held, want)
	}
	if f.observes {
		return ""
	}
	view := p.store.Current().View(f.name)
	if want := kindsOf(nil).digest(view); l.digest.Load() != want {
		return fmt.Sprintf("the last Ack's digest is %016x, that of the view %016x", l.digest.Load(), want)
	}
	record, _ := p.nodes.Get(f.name)
	if record.AckedRevision != view.Snapshot().Revision || record.Zone != view.Zone() {
		return fmt.Sprintf("%s has a record of revision %d in zone %q, of %d in %q", st.Address,
			record.AckedRevision, record.Zone, view.Snapshot().Revision, view.Zone())
	}
	return f.complaints(names(f.rejected()), record.State(view.Snapshot().Revision), names(record.Rejected))
}

// complaints compares what the node rejects with what the server says of it.
func (f *follower) complaints(rejected []resource.Name, state introspectionv1.SyncState, recorded []resource.Name) string {
	want := introspectionv1.SyncState_SYNC_STATE_SYNCED
	if len(rejected) > 0 {
		want = introspectionv1.SyncState_SYNC_STATE_REJECTED
	}
	if state != want || !slices.Equal(rejected, recorded) {
		return fmt.Sprintf("recorded as %s with %v rejected, is %s with %v", state, recorded, want, rejected)
	}
	return ""
}
