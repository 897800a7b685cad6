package reconcile

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

const (
	// collectDelay is how long spare slots stay, at least, for packets in flight.
	collectDelay = time.Second
	// checkpointDelay gathers changes into one write.
	checkpointDelay = time.Second
	// resyncPeriod is how often everything is put into the kernel anew.
	resyncPeriod = time.Hour
	// lookPeriod is how often to look whether somebody else changed the rules.
	lookPeriod = time.Second
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Config is what a Loop works with. Everything but CheckpointPath is required.
type Config struct {
	Node      string
	Dataplane dataplane.Dataplane
	Logger    hclog.Logger
	// Addresses lists the node's addresses; AddressesChanged tells when to look.
	Addresses        func() ([]netip.Addr, error)
	AddressesChanged <-chan struct{}
	// Sysctls sets the kernel's connection tracking up. May be nil.
	Sysctls func(*discoveryv1.Conntrack) error
	// CleanConntrack and HealthChecks are told, after the rules are in force, what
	// serves UDP frontends and where load balancers may ask. May be nil.
	CleanConntrack func(ruleset.Serving)
	HealthChecks   func([]ruleset.HealthCheck)
	// Acknowledge reports the fate of the latest transaction once more.
	Acknowledge func(subscribe.Result) bool
	// CheckpointPath is where the state is kept; empty means nowhere.
	CheckpointPath string
	Observer       Observer
	Now            func() time.Time
}

// Observer is told what the loop does, for metrics and health.
type Observer interface {
	// Queued is called with a transaction that is to be applied.
	Queued(*subscribe.Transaction)
	// Applied is called after each attempt to bring the kernel's rules of one family
	// up to date; with no changes it is none but in name.
	Applied(Attempt)
	// Collected is called for each family after an attempt to remove what changes
	// had left in the kernel.
	Collected(dataplane.Family, error)
	// Rejected is called with all resources that are currently rejected.
	Rejected([]*discoveryv1.RejectedResource)
	// Configured is called with the node's configuration when it is in force; with
	// nil if the Node is gone.
	Configured(*state.NodeConfig)
	// Checkpointed is called after each attempt to write a checkpoint.
	Checkpointed(bytes int, err error)
}

// Attempt describes one attempt to change the kernel's rules of one family.
type Attempt struct {
	Family dataplane.Family
	// Whole is set if everything was replaced.
	Whole bool
	// Repair is set if that was because somebody else had changed the rules.
	Repair bool
	// Frontends is how many changed; with Whole, how many there are.
	Frontends int
	// NoLocal is how many ports have endpoints, but none where their policy wants
	// one.
	NoLocal  ruleset.NoLocal
	Duration time.Duration
	Err      error
}

// Loop is the agent's reconciler. It implements subscribe.Handler.
type Loop struct {
	Config
	requests chan request

	state *state.State
	table *ruleset.Table
	// dirty is what the table does not reflect yet.
	dirty    state.Dirty
	settings dataplane.Settings
	// whole is set while only a replacement of everything will do.
	whole bool
	// repairing is set while that is because somebody else changed the rules.
	repairing bool
	// unlooked is set while looking for that fails, so that it is logged once.
	unlooked bool
	// told is set once a control plane has said something to this process.
	told bool
	// nameless is set while the control plane has no configuration for the node.
	nameless bool
	// configured is set once the control plane had a configuration for the node.
	configured bool
	// conntrack is the configuration that Sysctls was last given.
	conntrack *discoveryv1.Conntrack
	rejected  map[resourceID]*discoveryv1.RejectedResource
	revision  uint64
	source    state.Source
	addresses []netip.Addr

	retryAfter time.Duration
	retry      *time.Timer
	collect    *time.Timer
	checkpoint *time.Timer
	// collecting and checkpointing are set while these timers run. Changes do not
	// start them again: under changes without end they would never fire.
	collecting, checkpointing bool
	writer                    *writer
}

// resourceID identifies a rejected resource.
type resourceID struct {
	kind discoveryv1.Kind
	name string
}

type request struct {
	tx    *subscribe.Transaction
	reply chan subscribe.Result
}

// New returns a loop that holds the given state, which may be restored from a
// checkpoint.
func New(config Config, restored *state.State, header state.Checkpoint) *Loop {
	if restored == nil {
		restored = state.New()
	}
	return &Loop{
		Config: config, requests: make(chan request),
		state: restored, table: ruleset.NewTable(), whole: true,
		rejected: map[resourceID]*discoveryv1.RejectedResource{},
		revision: header.Revision, source: header.Source,
		retry: stoppedTimer(), collect: stoppedTimer(), checkpoint: stoppedTimer(),
		writer: newWriter(config.CheckpointPath, config.Observer, config.Logger),
	}
}

func stoppedTimer() *time.Timer {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timer
}

// Apply hands a transaction to the loop and waits for its fate.
func (l *Loop) Apply(ctx context.Context, tx *subscribe.Transaction) subscribe.Result {
	reply := make(chan subscribe.Result, 1)
	select {
	case l.requests <- request{tx, reply}:
	case <-ctx.Done():
		return subscribe.Result{Err: ctx.Err()}
	}
	select {
	case result := <-reply:
		return result
	case <-ctx.Done():
		return subscribe.Result{Err: ctx.Err()}
	}
}

// Run works until the context ends. The rules stay in the kernel.
func (l *Loop) Run(ctx context.Context) error {
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		l.writer.run()
	}()
	defer func() { <-writing }()
	defer l.writer.close()
	if err := l.start(ctx); err != nil {
		return err
	}
	resync := time.NewTicker(resyncPeriod)
	defer resync.Stop()
	look := time.NewTicker(lookPeriod)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			l.writeCheckpoint()
			return nil
		case r := <-l.requests:
			r.reply <- l.take(ctx, r.tx)
		case _, ok := <-l.AddressesChanged:
			if !ok {
				l.AddressesChanged = nil
				continue
			}
			l.addressesChanged(ctx)
		case <-l.retry.C:
			l.tryAgain(ctx)
		case <-l.collect.C:
			l.collectSpares(ctx)
		case <-l.checkpoint.C:
			l.writeCheckpoint()
		case <-resync.C:
			l.resync(ctx)
		case <-look.C:
			l.look(ctx)
		}
	}
}

// resync puts everything into the kernel anew, unless no control plane has said
// what that is: rules of an earlier agent may be newer than the checkpoint.
func (l *Loop) resync(ctx context.Context) {
	if l.told {
		l.whole = true
		_ = l.sync(ctx)
	}
}

// start looks at what the kernel holds and decides who may change it first.
func (l *Loop) start(ctx context.Context) error {
	exists, err := l.Dataplane.Exists(ctx)
	if err != nil {
		return err
	}
	l.refreshAddresses()
	services := len(l.state.Services())
	switch {
	case exists:
		l.Logger.Info("the kernel holds rules of an earlier agent; they stay until the control plane has spoken", "checkpointed services", services)
	case services > 0:
		l.startFromCheckpoint(ctx)
	default:
		l.Logger.Info("starting empty; waiting for the control plane")
	}
	return nil
}

func (l *Loop) startFromCheckpoint(ctx context.Context) {
	l.Logger.Info("the kernel holds no rules; starting from the checkpoint", "services", len(l.state.Services()), "revision", l.revision)
	l.told = true
	l.noteConfig()
	_ = l.sync(ctx)
}

// look repairs what somebody else did to the rules. Those of an earlier agent are
// not known, but that they are gone can be seen.
func (l *Loop) look(ctx context.Context) {
	var err error
	switch {
	case l.told && !l.whole:
		if l.repairing, err = l.Dataplane.Disturbed(ctx); l.repairing {
			l.whole = true
			_ = l.sync(ctx)
		}
	case !l.told && len(l.state.Services()) > 0:
		var exists bool
		if exists, err = l.Dataplane.Exists(ctx); err == nil && !exists {
			l.startFromCheckpoint(ctx)
		}
	}
	if err != nil && !l.unlooked {
		l.Logger.Warn("cannot see whether somebody else changed the rules", "error", err)
	}
	l.unlooked = err != nil
}

// take puts a transaction into force.
func (l *Loop) take(ctx context.Context, tx *subscribe.Transaction) subscribe.Result {
	l.told = true
	l.Observer.Queued(tx)
	were := l.forget(tx)
	dirty, rejected := l.state.Apply(tx.Resources, tx.Removed)
	l.dirty.Merge(dirty)
	l.revision, l.source = tx.Revision, state.SourceOf(tx.Source)
	l.noteRejected(rejected, were)
	l.noteConfig()
	begun := l.Now()
	err := l.sync(ctx)
	return subscribe.Result{Rejected: l.rejections(), Err: err, ApplyDuration: l.Now().Sub(begun)}
}

// noteConfig says so, once, if the cluster has no Node of this name.
func (l *Loop) noteConfig() {
	missing := l.state.Config() == nil
	if missing && !l.nameless {
		l.Logger.Warn("the cluster has no Node of this name: node ports are not served and no traffic is known to come from pods", "node", l.Node)
	}
	l.nameless = missing
	switch {
	case !missing:
		l.configured = true
		l.Observer.Configured(l.state.Config())
		l.setSysctls(l.state.Config().Conntrack)
	case l.configured:
		l.Observer.Configured(nil)
	}
}

// setSysctls gives a changed configuration to the kernel. The rules do not depend
// on it, so a failure is said and nothing else.
func (l *Loop) setSysctls(config *discoveryv1.Conntrack) {
	if l.Sysctls == nil || proto.Equal(config, l.conntrack) {
		return
	}
	l.conntrack = config
	if err := l.Sysctls(config); err != nil {
		l.Logger.Warn("cannot set up connection tracking as configured", "error", err)
	}
}

// forget drops the rejections of resources that the transaction names: it says
// something new of them. It tells whether there were any.
func (l *Loop) forget(tx *subscribe.Transaction) bool {
	if len(l.rejected) == 0 {
		return false
	}
	for _, name := range tx.Removed {
		delete(l.rejected, resourceID{name.Kind, name.Name})
	}
	for _, r := range tx.Resources {
		delete(l.rejected, idOf(r))
	}
	return true
}

func (l *Loop) noteRejected(rejected []*discoveryv1.RejectedResource, were bool) {
	for _, r := range rejected {
		l.rejected[resourceID{r.GetName().GetKind(), r.GetName().GetName()}] = r
		l.Logger.Warn("cannot use a resource; its last good state stays in force",
			"resource", r.GetName().GetName(), "reason", r.GetReason())
	}
	if were || len(rejected) > 0 {
		l.Observer.Rejected(l.rejections())
	}
}

func (l *Loop) rejections() []*discoveryv1.RejectedResource {
	return slices.SortedFunc(maps.Values(l.rejected), func(a, b *discoveryv1.RejectedResource) int {
		return cmp.Or(strings.Compare(a.GetName().GetName(), b.GetName().GetName()), cmp.Compare(a.GetName().GetKind(), b.GetName().GetKind()))
	})
}

func (l *Loop) refreshAddresses() {
	addresses, err := l.Addresses()
	if err != nil {
		l.Logger.Error("node ports stay on the addresses known before", "error", err)
		return
	}
	l.addresses = addresses
}

func (l *Loop) addressesChanged(ctx context.Context) {
	before := l.addresses
	l.refreshAddresses()
	if l.told && !slices.Equal(before, l.addresses) {
		_ = l.sync(ctx)
	}
}

func (l *Loop) tryAgain(ctx context.Context) {
	l.Acknowledge(subscribe.Result{Err: l.sync(ctx), Rejected: l.rejections()})
}

func (l *Loop) collectSpares(ctx context.Context) {
	l.collecting = false
	_, err := l.Dataplane.Collect(ctx)
	for _, family := range families {
		l.Observer.Collected(family, err)
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.collectLater()
}
