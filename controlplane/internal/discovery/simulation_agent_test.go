package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// checkpoint is what an agent has on its disk.
type checkpoint struct {
	held   map[resource.Name]uint64
	source *discoveryv1.SourceVersion
}

// link is one stream of a follower, and watches it from the wire's side: what a
// mutant changes of it was changed before.
type link struct {
	grpc.ClientStream
	f       *follower
	process *process
	site    *site
	// applied is the nonce of the last transaction whose handler has returned, digest
	// what the last Ack said.
	applied, digest atomic.Uint64
}

// RecvMsg notes, with the first message, which connection the stream has come over: an
// earlier one of the follower may still be dialing.
func (l *link) RecvMsg(m any) error {
	err := l.ClientStream.RecvMsg(m)
	if err != nil || l.process != nil {
		return err
	}
	from, _ := peer.FromContext(l.Context())
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	c := from.Addr.(*cable)
	l.f.cable, l.process, l.site = c, c.process, c.site
	return nil
}

// SendMsg checks that what is acknowledged has been applied.
func (l *link) SendMsg(m any) error {
	if ack := m.(*discoveryv1.StreamDeltasRequest).GetAck(); ack != nil {
		if nonce, applied := ack.GetResponseNonce(), l.applied.Load(); nonce > applied && l.Context().Err() == nil {
			l.f.sim.violate(early, "%s acknowledges nonce %d and has applied %d", l.f.name, nonce, applied)
		}
		l.digest.Store(ack.GetDigest())
	}
	return l.ClientStream.SendMsg(m)
}

// follower is a simulated agent: a real subscriber, of which every transaction is
// checked. It outlives its processes.
type follower struct {
	sim     *simulation
	name    string
	address net.Addr
	seed    uint64
	// observes is set if it acknowledges nothing.
	observes bool

	// subscriber, stop and lives are the driver's.
	subscriber *subscribe.Subscriber
	stop       func()
	lives      int
	// mismatches counts those of earlier lives.
	mismatches uint64

	mu        sync.Mutex
	now       checkpoint
	past      []checkpoint
	revisions map[*process]uint64
	// refuses is what part of the names the node cannot use.
	refuses string
	link    *link
	// cable is the last connection's.
	cable *cable
	walls map[*site]chan struct{}
	rand  *rand.Rand
}

// start starts a process that holds what the checkpoint says.
func (f *follower) start(from checkpoint) {
	f.lives++
	f.mu.Lock()
	f.now = checkpoint{maps.Clone(from.held), from.source}
	if f.now.held == nil {
		f.now.held = map[resource.Name]uint64{}
	}
	f.revisions = map[*process]uint64{}
	f.rand = rand.New(rand.NewPCG(f.seed, uint64(f.lives)))
	f.mu.Unlock()
	s, err := subscribe.New(subscribe.Config{
		Addresses: f.sim.addresses(), Handler: f, Observe: f.observes, Held: maps.Clone(from.held), HeldSource: from.source,
		Node: &discoveryv1.Node{Id: f.name, Instance: fmt.Sprint(f.lives), AgentVersion: "v1"},
		Rand: rand.New(rand.NewPCG(f.seed, uint64(f.lives)+1<<32)),
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(f.dial), grpc.WithStreamInterceptor(f.open)},
	})
	if err != nil {
		f.sim.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	f.subscriber, f.stop = s, func() { cancel(); <-done }
}

// wall returns what is closed when the follower reaches the site again, or nil if
// it does.
func (f *follower) wall(s *site) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.walls[s]
}

// cutOff cuts the follower off from the site for a while.
func (f *follower) cutOff(s *site, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.walls[s] != nil {
		return
	}
	wall := make(chan struct{})
	f.walls[s] = wall
	time.AfterFunc(d, func() { f.heal(s, wall) })
}

func (f *follower) heal(s *site, wall chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.walls[s] == wall && wall != nil {
		delete(f.walls, s)
		close(wall)
	}
}

// dial connects to a site, which fails after a while if the follower is cut off from it.
func (f *follower) dial(ctx context.Context, address string) (net.Conn, error) {
	s := f.sim.site(address)
	for wall := f.wall(s); wall != nil; wall = f.wall(s) {
		select {
		case <-wall:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p := f.sim.running(s)
	conn, err := p.listener.dial(ctx, f.address)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cable = &cable{f: f, site: s, process: p, gone: make(chan struct{}), left: -1}
	return &wired{conn, f.cable}, nil
}

// open opens a stream, with a mutant in between if there is to be one.
func (f *follower) open(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	l := &link{ClientStream: stream, f: f}
	f.link = l
	f.mu.Unlock()
	if wrap := f.sim.setup.mutant; wrap != nil {
		return wrap(l), nil
	}
	return l, nil
}

// Apply takes a transaction over after a while and checks that this leads to what the
// node was to hold at the revision, and never back.
func (f *follower) Apply(ctx context.Context, tx *subscribe.Transaction) subscribe.Result {
	f.mu.Lock()
	pause := time.NewTimer(time.Duration(f.rand.Int64N(int64(40 * time.Millisecond))))
	f.mu.Unlock()
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done(): // The process is killed while it applies.
		return subscribe.Result{Err: ctx.Err()}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range tx.Removed {
		delete(f.now.held, name)
	}
	for r := range tx.Resources.All() {
		f.now.held[resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}] = r.GetVersion()
	}
	f.check(tx)
	f.now.source = tx.Source
	f.remember()
	f.link.applied.Store(tx.Nonce)
	return f.result()
}

// result is what the node says of what it holds: that it cannot use some of it and, if
// that is much, that nothing was applied.
func (f *follower) result() subscribe.Result {
	result := subscribe.Result{Rejected: f.rejected()}
	const much = 2
	if len(result.Rejected) > much {
		result.Err = errors.New("simulated")
	}
	return result
}

func (f *follower) check(tx *subscribe.Transaction) {
	p, violate := f.link.process, f.sim.violate
	if tx.Revision < f.revisions[p] {
		violate(back, "%s goes from revision %d back to %d of one replica", f.name, f.revisions[p], tx.Revision)
	}
	f.revisions[p] = tx.Revision
	if behind(model.SourceVersion{Source: tx.Source.GetSource(), Services: tx.Source.GetServices()}, f.now.source) {
		violate(back, "%s goes back from %v to %v", f.name, f.now.source, tx.Source)
	}
	at := p.at(tx.Revision)
	if at == nil {
		violate(torn, "%s is sent revision %d, which there never was", f.name, tx.Revision)
		return
	}
	if want := contents(at.View(f.name), known()); !maps.Equal(f.now.held, want) {
		violate(torn, "%s at revision %d: %s", f.name, tx.Revision, differences(f.now.held, want))
	}
}

// remember keeps a few checkpoints, from which a later process may start.
func (f *follower) remember() {
	const kept = 5
	f.past = append(f.past, checkpoint{maps.Clone(f.now.held), f.now.source})
	f.past = f.past[max(0, len(f.past)-kept):]
}

// rejected lists what the node cannot use of what it holds.
func (f *follower) rejected() []*discoveryv1.RejectedResource {
	var list []*discoveryv1.RejectedResource
	for name := range f.now.held {
		if f.refuses != "" && strings.HasSuffix(name.Name, f.refuses) {
			list = append(list, &discoveryv1.RejectedResource{Name: name.Proto(), Reason: "simulated"})
		}
	}
	return list
}

// refuse makes the node unable to use some names, or none, and reports that as the
// retry of a data plane does.
func (f *follower) refuse(names string) {
	f.mu.Lock()
	f.refuses = names
	result := f.result()
	f.mu.Unlock()
	f.subscriber.Acknowledge(result)
}

// at returns the site of the last connection, or nil.
func (f *follower) at() *site {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cable == nil {
		return nil
	}
	return f.cable.site
}

func (f *follower) snap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cable != nil {
		f.cable.snap()
	}
}

func (f *follower) cutAfter(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cable != nil {
		f.cable.cutAfter(bytes)
	}
}

// restart kills the process and starts another with nothing, or with a checkpoint
// that is so many transactions old.
func (f *follower) restart(lost bool, age int) {
	f.stop()
	f.mismatches += f.subscriber.Status().DigestMismatches
	var from checkpoint
	if n := len(f.past); !lost && n > 0 {
		from = f.past[max(0, n-1-age)]
	}
	f.start(from)
}

// differences says in words how what is held differs from what should be.
func differences(held, want map[resource.Name]uint64) string {
	var list []string
	for name, version := range held {
		switch want[name] {
		case version:
		case 0:
			list = append(list, "+"+name.String())
		default:
			list = append(list, "~"+name.String())
		}
	}
	for name := range want {
		if held[name] == 0 {
			list = append(list, "-"+name.String())
		}
	}
	slices.Sort(list)
	const shown = 8
	text := strings.Join(list[:min(shown, len(list))], ", ")
	return fmt.Sprintf("%d resources are not as they should be (+ too much, ~ changed, - missing): %s", len(list), text)
}
