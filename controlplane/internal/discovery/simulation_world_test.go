package discovery

import (
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// edit makes the given resources all that an owner has.
type edit struct {
	owner     string
	resources []snapshot.Scoped
}

// world is the cluster: the edits that every replica comes to see, in this order.
type world struct {
	edits []edit
}

// expected returns what a node is to hold once all edits have been seen. It is worked
// out from the edits alone, so that a bug of the snapshots is not shared.
func (w *world) expected(node string) map[resource.Name]uint64 {
	content := map[string][]snapshot.Scoped{}
	for _, e := range w.edits {
		content[e.owner] = e.resources
	}
	var zone string
	for _, s := range content[node] {
		if config := s.Resource.GetNodeConfig(); config != nil {
			zone = config.GetZone()
		}
	}
	held := map[resource.Name]uint64{}
	// The more specific comes later.
	for _, scope := range []snapshot.Scope{{}, {Zone: zone}, {Node: node}} {
		for _, list := range content {
			for _, s := range list {
				if s.Scope == scope {
					held[resource.Name{Kind: resource.KindOf(s.Resource), Name: s.Resource.GetName()}] = s.Resource.GetVersion()
				}
			}
		}
	}
	return held
}

// process is one life of a replica: what it knows ends with it.
type process struct {
	store    *snapshot.Store
	nodes    *nodes.Registry
	server   *Server
	grpc     *grpc.Server
	listener *addressed

	// mu guards history, the snapshots by their revision.
	mu      sync.Mutex
	history map[uint64]*snapshot.Snapshot
}

// at returns the snapshot of a revision, or nil if there never was such a one.
func (p *process) at(revision uint64) *snapshot.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.history[revision]
}

// site is a replica's address, with the process that runs there now.
type site struct {
	address string
	setup   setup
	*process
	// earlier are the processes that ran here before.
	earlier []*process
	// seen counts the edits of the world that the replica has seen, told those that the
	// process has been told of: a new one begins with a list of everything.
	seen, told int
}

func newSite(t testing.TB, address string, setup setup) *site {
	s := &site{address: address, setup: setup}
	s.start(t)
	return s
}

// start starts a process that has not read the cluster yet.
func (s *site) start(t testing.TB) {
	t.Helper()
	store := snapshot.NewStore(time.Now)
	if s.setup.log > 0 {
		store = snapshot.NewStoreOf(time.Now, s.setup.log)
	}
	p := &process{
		store: store, nodes: nodes.NewRegistry(nodes.Config{Now: time.Now}), history: map[uint64]*snapshot.Snapshot{},
		grpc: grpc.NewServer(ServerOptions()...), listener: listen(1 << 14),
	}
	server, err := New(Config{Snapshots: p.store, Nodes: p.nodes, PieceBytes: s.setup.pieceBytes,
		FullSyncs: s.setup.fullSyncs, FullSyncQueue: s.setup.fullSyncs})
	if err != nil {
		t.Fatal(err)
	}
	p.server = server
	Register(p.grpc, server)
	go func() { _ = p.grpc.Serve(p.listener) }()
	s.process, s.told = p, 0
}

// stop ends the process, and all its streams.
func (s *site) stop() {
	s.grpc.Stop()
	s.earlier = append(s.earlier, s.process)
}

// see shows the replica so many more edits, each in a commit of its own or all in one.
func (s *site) see(t testing.TB, w *world, edits int, together bool) {
	t.Helper()
	upTo := min(s.seen+edits, len(w.edits))
	if s.told < s.seen {
		s.commit(t, w.edits[:s.seen], s.seen)
	}
	if together && s.seen < upTo {
		s.commit(t, w.edits[s.seen:upTo], upTo)
	}
	for s.told < upTo {
		s.commit(t, w.edits[s.told:s.told+1], s.told+1)
	}
	s.seen = upTo
}

// commit makes one snapshot of some edits, of which the last word of an owner counts.
func (s *site) commit(t testing.TB, edits []edit, point int) {
	t.Helper()
	tx := s.store.Begin()
	var owners []string
	for _, e := range slices.Backward(edits) {
		if slices.Contains(owners, e.owner) {
			continue
		}
		owners = append(owners, e.owner)
		if err := tx.Replace(e.owner, e.resources); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, _ := tx.Commit(model.SourceVersion{Source: "cluster", Services: uint64(point)})
	s.history[now.Revision] = now
	s.told = point
}

// contents returns the versions of a view's resources of some kinds.
func contents(view snapshot.View, of kinds) map[resource.Name]uint64 {
	held := map[resource.Name]uint64{}
	for entry := range view.All(of.has) {
		held[entry.Name] = entry.Version
	}
	return held
}
