// Package round turns changes of the cluster into snapshots, one round of
// compiling at a time: at once when idle, spaced by their own cost under load.
package round

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

const (
	// share is how much of one core rounds may use under sustained load.
	share = 0.25
	// maxWait bounds how long a change can wait for its round.
	maxWait = time.Second
)

// Config is what a Driver works with.
type Config struct {
	Cluster   *cluster.Store
	Snapshots *snapshot.Store
	Settings  compile.Settings
	// MaxServiceEndpoints is how many endpoints a Service may have, counted once for
	// each port that they serve; zero means the default.
	MaxServiceEndpoints int
	Logger              hclog.Logger
	// Observe is told of each round that made a snapshot; may be nil.
	Observe func(Result)
	// Brake says what is a mass deletion of Services, which is held back. The zero
	// value holds nothing back.
	Brake brake.Limits
	// List returns the Services that the source has, read anew and as a whole. It
	// confirms a deletion that is held back; if it is nil only Release does.
	List func(context.Context) ([]model.Key, error)
}

// Result describes a round that made a snapshot.
type Result struct {
	Revision uint64
	// Services is how many Services were compiled, Resources how many resources
	// differ from the snapshot before.
	Services, Resources int
	Duration            time.Duration
	// Changes are what the round was made for. Nobody changes them any more.
	Changes cluster.Changes
	// The round began, had computed everything, and made the snapshot current at these times.
	Began, Computed, Committed time.Time
	// Lags are how long ago what made endpoints change had happened, as their EndpointSlices
	// say, for each that the snapshot is the first to have.
	Lags []time.Duration
}

// Driver runs rounds.
type Driver struct {
	Config
	// pending is what changed before the source had delivered everything, or in a
	// round that failed.
	pending cluster.Changes
	started bool
	// over has the Services that are beyond the budget.
	over map[model.Key]bool
	// served is what the Services in the snapshot were compiled from.
	served map[model.Key]object
	// begun is when the round began.
	begun time.Time
	// hold has the removals that wait; braked is set while there are any.
	hold   *hold
	braked bool
	// settings are those that are wanted; Settings those that were compiled with last.
	settings *settings
	// done is the sequence of the cluster's updates up to which the snapshot has everything.
	done atomic.Uint64
}

// New returns a driver.
func New(config Config) *Driver {
	config.MaxServiceEndpoints = cmp.Or(config.MaxServiceEndpoints, DefaultMaxServiceEndpoints)
	return &Driver{
		Config: config, over: map[model.Key]bool{}, served: map[model.Key]object{},
		hold: newHold(config.Brake), settings: newSettings(config.Settings),
	}
}

// Run compiles until the context ends. Nothing is committed before the source has
// delivered everything once, so an unsynced control plane serves nothing.
func (d *Driver) Run(ctx context.Context) error {
	var confirming sync.WaitGroup
	defer confirming.Wait()
	if d.List != nil {
		confirming.Go(func() { d.confirm(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.Cluster.Changed():
		case <-d.settings.changed:
		case <-d.hold.released:
		}
		begun := time.Now()
		d.Round()
		if !sleep(ctx, pause(time.Since(begun))) {
			return nil
		}
	}
}

// pause returns how long to let changes gather after a round of the given cost.
func pause(cost time.Duration) time.Duration {
	return min(time.Duration(float64(cost)/share), maxWait)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Round compiles what has changed, once. It must not run beside Run. What cannot be
// encoded stays as it was.
func (d *Driver) Round() {
	begun := time.Now()
	d.pending = merge(d.pending, d.Cluster.Take())
	d.configure()
	if !d.pending.Synced {
		return
	}
	d.begun = begun
	objects := d.objects(begun)
	tx := d.Snapshots.Begin()
	var triggered []time.Time
	for key, o := range objects {
		triggered = append(triggered, d.triggered(key, o)...)
		d.service(tx, key, o)
	}
	for name := range d.pending.Nodes {
		d.replace(tx, "node/"+name, compile.Node(d.Cluster.Node(name), d.Settings))
	}
	if d.pending.ServiceCIDRs || !d.started {
		d.replace(tx, "cluster", compile.Cluster(d.Cluster.ServiceCIDRs()))
	}
	computed := time.Now()
	now, changed := tx.Commit(d.pending.Version)
	result := Result{
		Revision: now.Revision, Services: len(objects), Resources: changed, Duration: time.Since(begun),
		Changes: d.pending, Began: begun, Computed: computed, Committed: now.Time,
	}
	for _, at := range triggered {
		result.Lags = append(result.Lags, max(0, time.Since(at))) // The other clock may be ahead.
	}
	d.report(now, result)
	d.done.Store(d.pending.Sequence)
	d.pending, d.started = cluster.Changes{Synced: true}, true
}

// triggered returns when what is new in a Service's slices happened, as far as they say so.
// What was there before the control plane is not new.
func (d *Driver) triggered(key model.Key, o object) []time.Time {
	if !d.started {
		return nil
	}
	before := map[model.Key]time.Time{}
	for _, slice := range d.served[key].slices {
		before[slice.Key] = slice.Triggered
	}
	var list []time.Time
	for _, slice := range o.slices {
		if slice.Triggered.After(before[slice.Key]) {
			list = append(list, slice.Triggered)
		}
	}
	return list
}

// Done returns up to which update of the cluster's objects (Store.Sequence) the current snapshot
// has everything. It is safe for concurrent use.
func (d *Driver) Done() uint64 { return d.done.Load() }

// replace tells whether it did.
func (d *Driver) replace(tx *snapshot.Tx, owner string, resources []snapshot.Scoped) bool {
	if err := tx.Replace(owner, resources); err != nil {
		d.Logger.Error("cannot encode what was compiled; the last good state stays in force", "of", owner, "error", err)
		return false
	}
	return true
}

func (d *Driver) report(now *snapshot.Snapshot, result Result) {
	if result.Resources == 0 && d.started {
		return
	}
	if !d.started {
		d.Logger.Info("serving", "revision", now.Revision, "resources", now.Len(), "compiled in", result.Duration)
	} else if d.Logger.IsDebug() {
		d.Logger.Debug("new revision", "revision", result.Revision, "services", result.Services,
			"resources", result.Resources, "compiled in", result.Duration)
	}
	if d.Observe != nil {
		d.Observe(result)
	}
}

func merge(older, newer cluster.Changes) cluster.Changes {
	merged := newer
	if !older.Received.IsZero() {
		merged.Received = older.Received
	}
	merged.Synced = older.Synced || newer.Synced
	merged.ServiceCIDRs = older.ServiceCIDRs || newer.ServiceCIDRs
	merged.Services = union(older.Services, newer.Services)
	merged.Nodes = union(older.Nodes, newer.Nodes)
	return merged
}

func union[K model.Key | string](a, b map[K]struct{}) map[K]struct{} {
	if len(a) == 0 {
		return b
	}
	maps.Copy(a, b)
	return a
}
