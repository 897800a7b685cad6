package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
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
	Node string
	// Dataplanes has one for each address family.
	Dataplanes []dataplane.Dataplane
	Logger     hclog.Logger
	// Addresses lists the node's addresses; AddressesChanged tells when to look.
	Addresses        func() ([]netip.Addr, error)
	AddressesChanged <-chan struct{}
	// Sysctls sets the kernel's connection tracking up. May be nil.
	Sysctls func(*discoveryv1.Conntrack) error
	// CleanConntrack and HealthChecks are told, after the rules are in force, what
	// serves UDP frontends and where load balancers may ask. May be nil.
	CleanConntrack func(ruleset.Serving)
	HealthChecks   func([]ruleset.HealthCheck)
	// LocalhostPorts is told of the node ports on loopback addresses. May be nil.
	LocalhostPorts func([]ruleset.LocalhostPort)
	// Frontends is told what has changed of the frontends, and of whose they are. May be nil.
	Frontends func([]ruleset.Change)
	// Acknowledge reports the fate of the latest transaction once more.
	Acknowledge func(subscribe.Result) bool
	// Limits bounds how much of the kernel Services may take.
	Limits ruleset.Limits
	// CheckpointPath is where the state is kept; empty means nowhere.
	CheckpointPath string
	Observer       Observer
	Now            func() time.Time
}

// Loop is the agent's reconciler. It implements subscribe.Handler.
type Loop struct {
	Config
	requests chan request
	// comparisons are asked for by who waits on the channel.
	comparisons chan chan<- *discoveryv1.Comparison

	state *state.State
	table *ruleset.Table
	// dirty is what the table does not reflect yet.
	dirty    state.Dirty
	settings dataplane.Settings
	// planes are the kernel's rules, by address family.
	planes []*plane
	// unlooked is set while looking for that fails, so that it is logged once.
	unlooked bool
	// told is set once a control plane has said something to this process.
	told bool
	// adopted is set from when the rules of an earlier agent were found to be the
	// checkpoint's until everything else has followed.
	adopted bool
	// config is the node's configuration in force; nil if there never was one.
	config *state.NodeConfig
	// nameless is set while the control plane has no configuration for the node.
	nameless bool
	// conntrack is the configuration that Sysctls was last given.
	conntrack *discoveryv1.Conntrack
	rejected  map[resource.Name]*discoveryv1.RejectedResource
	warnings  *warnings
	// failure is why the kernel is not up to date, if it is not; took is how long the
	// last attempt was.
	failure   error
	took      time.Duration
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
	spacing                   spacing
}

// plane is the kernel's rules of one address family.
type plane struct {
	dataplane.Dataplane
	// whole is set while only a replacement of everything will do.
	whole bool
	// repairing is set while that is because somebody else changed the rules.
	repairing bool
	// missing is set while the node does not have the family.
	missing bool
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
	loop := &Loop{
		Config: config, requests: make(chan request), comparisons: make(chan chan<- *discoveryv1.Comparison),
		state: restored, table: ruleset.NewTable(),
		rejected: map[resource.Name]*discoveryv1.RejectedResource{}, warnings: newWarnings(),
		revision: header.Revision, source: header.Source,
		retry: stoppedTimer(), collect: stoppedTimer(), checkpoint: stoppedTimer(),
		writer: newWriter(config.CheckpointPath, config.Observer, config.Logger),
	}
	loop.table.SetLimits(config.Limits)
	loop.restoreOrders(header.Extra)
	for _, p := range config.Dataplanes {
		loop.planes = append(loop.planes, &plane{Dataplane: p, whole: true})
	}
	return loop
}

// restoreOrders has the table number backends as the agent did that wrote a checkpoint:
// then its rules can be told to be right without a change.
func (l *Loop) restoreOrders(encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	var orders []ruleset.Order
	if err := json.Unmarshal(encoded, &orders); err != nil {
		l.Logger.Warn("the checkpoint does not say how backends were numbered; all will be written anew", "error", err)
		return
	}
	l.table.Restore(orders)
}

func stoppedTimer() *time.Timer {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timer
}

// Apply hands a transaction to the loop and waits for its fate. If the last one is not
// long ago enough, it waits before that too: changes meanwhile gather in the control
// plane, which sends one transaction at a time (S124).
func (l *Loop) Apply(ctx context.Context, tx *subscribe.Transaction) subscribe.Result {
	if err := l.spacing.wait(ctx, l.Now); err != nil {
		return subscribe.Result{Err: err}
	}
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
		case reply := <-l.comparisons:
			reply <- l.compare(ctx)
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
			l.tellWarnings()
		case <-l.warnings.changed:
			l.tellWarnings()
		}
	}
}

// resync puts everything into the kernel anew, unless no control plane has said
// what that is: rules of an earlier agent may be newer than the checkpoint.
func (l *Loop) resync(ctx context.Context) {
	if l.told {
		l.distrust()
		_ = l.sync(ctx)
	}
}

// distrust has everything replaced by the next sync.
func (l *Loop) distrust() {
	for _, p := range l.planes {
		p.whole = true
	}
}

// behind tells whether only a replacement of everything will do in some family.
func (l *Loop) behind() bool {
	return slices.ContainsFunc(l.planes, func(p *plane) bool { return p.whole })
}

// exist tells whether the kernel holds rules of ours.
func (l *Loop) exist(ctx context.Context) (bool, error) {
	for _, p := range l.planes {
		if exists, err := p.Exists(ctx); exists || err != nil {
			return exists, err
		}
	}
	return false, nil
}

// start looks at what the kernel holds and decides who may change it first.
func (l *Loop) start(ctx context.Context) error {
	exists, err := l.exist(ctx)
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

// adopt is for the moment before a control plane says for the first time what there is to
// do: if the kernel holds what the checkpoint says, then only what is new needs a commit.
func (l *Loop) adopt(ctx context.Context) {
	if l.told || len(l.state.Services()) == 0 {
		return
	}
	l.noteConfig()
	l.settings = Settings(l.config, l.state.Cluster(), l.addresses)
	l.table.SetEnvironment(Environment(l.config, l.addresses))
	changes := l.table.Update(maps.Keys(AllServices(l.state, l.table)), l.view)
	l.tellFrontends(&changes)
	for _, p := range l.planes {
		if p.Supported() && p.Adopt(ctx, l.settings, l.table) {
			p.whole, l.adopted = false, true
		}
	}
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
	case l.told:
		err = l.lookForOthers(ctx)
	case len(l.state.Services()) > 0:
		var exists bool
		if exists, err = l.exist(ctx); err == nil && !exists {
			l.startFromCheckpoint(ctx)
		}
	}
	if err != nil && !l.unlooked {
		l.Logger.Warn("cannot see whether somebody else changed the rules", "error", err)
	}
	l.unlooked = err != nil
}

func (l *Loop) lookForOthers(ctx context.Context) error {
	var errs []error
	found := false
	for _, p := range l.planes {
		if p.whole {
			continue // What is there will be replaced anyway.
		}
		disturbed, err := p.Disturbed(ctx)
		p.whole, p.repairing = disturbed, disturbed
		found = found || disturbed
		errs = append(errs, err)
	}
	if found {
		_ = l.sync(ctx)
	}
	return errors.Join(errs...)
}

// take puts a transaction into force.
func (l *Loop) take(ctx context.Context, tx *subscribe.Transaction) subscribe.Result {
	l.adopt(ctx)
	l.told = true
	l.Observer.Queued(tx)
	l.forget(tx)
	dirty, rejected := l.state.Apply(l.observed(tx.Resources), tx.Removed)
	tx.Resources = subscribe.Resources{} // It need not be held while the kernel follows.
	l.dirty.Merge(dirty)
	l.revision, l.source = tx.Revision, state.SourceOf(tx.Source)
	l.noteRejected(rejected)
	l.noteConfig()
	_ = l.sync(ctx)
	if l.config != nil {
		l.spacing.done(l.Now(), l.config.MinSyncPeriod)
	}
	return l.result()
}

// observed yields resources as they are taken over, so that they are decoded once.
func (l *Loop) observed(resources subscribe.Resources) iter.Seq[*discoveryv1.Resource] {
	return func(yield func(*discoveryv1.Resource) bool) {
		for r := range resources.All() {
			l.Observer.Resource(r)
			if !yield(r) {
				return
			}
		}
	}
}

// noteConfig takes over the node's configuration. If there is none it says so, once;
// that of a Node that was there stays in force (S131).
func (l *Loop) noteConfig() {
	config := l.state.Config()
	if config != nil {
		l.config, l.nameless = config, false
		l.Observer.Configured(config)
		l.setSysctls(config.Conntrack)
		return
	}
	if l.config != nil {
		l.Observer.Configured(nil)
	}
	if l.nameless {
		return
	}
	l.nameless = true
	if l.config != nil {
		l.Logger.Warn("the cluster has no Node of this name any more: its last configuration stays in force", "node", l.Node)
		return
	}
	l.Logger.Warn("the cluster has no Node of this name: node ports are not served and no traffic is known to come from pods", "node", l.Node)
}

// setSysctls gives a changed configuration to the kernel. The rules do not depend
// on it, so a failure is said and nothing else.
func (l *Loop) setSysctls(config *discoveryv1.Conntrack) {
	if l.Sysctls == nil || proto.Equal(config, l.conntrack) {
		return
	}
	l.conntrack = config
	err := l.Sysctls(config)
	if err == nil {
		l.Warn("sysctls", nil)
		return
	}
	l.Logger.Warn("cannot set up connection tracking as configured", "error", err)
	l.Warn("sysctls", []*discoveryv1.Warning{{
		Name:   &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: l.Node},
		Reason: "FailedToSetSysctl", Message: "cannot set up connection tracking as configured: " + err.Error(),
	}})
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
	_ = l.sync(ctx)
	l.Acknowledge(l.result())
}

func (l *Loop) collectSpares(ctx context.Context) {
	l.collecting = false
	for _, p := range l.planes {
		_, err := p.Collect(ctx)
		l.Observer.Collected(p.Family(), err)
		if err != nil {
			l.fail(p, err)
		}
	}
	l.collectLater()
}
