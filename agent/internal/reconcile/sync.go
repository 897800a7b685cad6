package reconcile

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
)

var _ subscribe.Handler = (*Loop)(nil)

var families = []dataplane.Family{dataplane.IPv4, dataplane.IPv6}

// sync makes the kernel equal to the state. After an error it has arranged for
// another attempt.
func (l *Loop) sync(ctx context.Context) error {
	begun := l.Now()
	settings := Settings(l.state.Config(), l.state.Cluster())
	if !reflect.DeepEqual(settings, l.settings) {
		l.settings, l.whole = settings, true
	}
	names := l.dirty.Services
	if l.table.SetEnvironment(Environment(l.state.Config(), l.addresses)) || l.whole {
		names = AllServices(l.state, l.table)
	}
	changes := l.table.Update(maps.Keys(names), l.view)
	l.dirty = state.Dirty{}

	attempt := Attempt{Whole: l.whole, Repair: l.repairing, Frontends: len(changes.Frontends)}
	switch {
	case l.whole:
		attempt.Frontends = l.table.Len()
		attempt.Err = l.Dataplane.Replace(ctx, l.settings, l.table)
	case !changes.Empty():
		attempt.Err = l.Dataplane.Apply(ctx, &changes)
	}
	attempt.Duration = l.Now().Sub(begun)
	for _, family := range families {
		attempt.Family, attempt.NoLocal = family, l.table.NoLocal(family == dataplane.IPv6)
		l.Observer.Applied(attempt)
	}
	if attempt.Err != nil {
		l.fail(attempt.Err)
		return attempt.Err
	}
	l.succeed(attempt)
	l.follow(names, changes.HealthChecks || attempt.Whole)
	return nil
}

// follow does what comes after the rules are in force.
func (l *Loop) follow(names map[string]struct{}, healthChecks bool) {
	if l.CleanConntrack != nil {
		l.CleanConntrack(l.table.Serving(maps.Keys(names), l.view))
	}
	if l.HealthChecks != nil && healthChecks {
		l.HealthChecks(l.table.HealthChecks())
	}
}

// fail arranges for a replacement of everything, later each time.
func (l *Loop) fail(err error) {
	l.whole = true
	l.retryAfter = min(max(2*l.retryAfter, firstRetry), lastRetry)
	l.retry.Reset(l.retryAfter)
	l.Logger.Error("cannot change the kernel's rules; those before stay in force", "error", err, "next attempt in", l.retryAfter)
}

func (l *Loop) succeed(attempt Attempt) {
	if l.retryAfter > 0 || attempt.Whole {
		l.Logger.Info("the kernel holds the whole ruleset", "frontends", attempt.Frontends, "revision", l.revision, "took", attempt.Duration)
	} else if l.Logger.IsDebug() {
		l.Logger.Debug("applied", "frontends", attempt.Frontends, "revision", l.revision, "took", attempt.Duration)
	}
	l.whole, l.repairing, l.retryAfter = false, false, 0
	l.retry.Stop()
	l.collectLater()
	if l.CheckpointPath != "" && !l.checkpointing {
		l.checkpointing = true
		l.checkpoint.Reset(checkpointDelay)
	}
}

func (l *Loop) collectLater() {
	if !l.collecting && l.Dataplane.Pending() {
		l.collecting = true
		l.collect.Reset(collectDelay)
	}
}

func (l *Loop) view(name string) ruleset.View { return View(l.state, name) }

// writeCheckpoint hands the state, as it is now, to the writer.
func (l *Loop) writeCheckpoint() {
	l.checkpoint.Stop()
	l.checkpointing = false
	if l.CheckpointPath == "" || !l.told || l.whole {
		return
	}
	content, err := l.state.Encode(state.Checkpoint{
		Node: l.Node, Written: l.Now().UTC().Truncate(time.Millisecond), Revision: l.revision, Source: l.source,
	})
	if err != nil {
		l.Observer.Checkpointed(0, err)
		l.Logger.Error("cannot encode the checkpoint", "error", err)
		return
	}
	l.writer.write(content)
}

func idOf(r *discoveryv1.Resource) resourceID {
	return resourceID{resource.KindOf(r), r.GetName()}
}
