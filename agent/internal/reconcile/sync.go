package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

var _ subscribe.Handler = (*Loop)(nil)

// sync makes the kernel equal to the state. A family that fails does not keep the
// other from it, and another attempt is arranged for.
func (l *Loop) sync(ctx context.Context) error {
	begun := l.Now()
	settings := Settings(l.config, l.state.Cluster(), l.addresses)
	if !reflect.DeepEqual(settings, l.settings) {
		l.settings = settings
		l.distrust()
	}
	names := l.dirty.Services
	whole := l.behind() || l.adopted
	if l.table.SetEnvironment(Environment(l.config, l.addresses)) || l.behind() {
		names = AllServices(l.state, l.table)
	}
	changes := l.table.Update(maps.Keys(names), l.view)
	l.tellFrontends(&changes)
	l.dirty = state.Dirty{}
	l.Observer.Rejected(l.rejections())

	recovering := l.retryAfter > 0
	computing := l.Now().Sub(begun)
	l.failure = nil
	for _, p := range l.planes {
		l.update(ctx, p, &changes, computing)
	}
	l.took = l.Now().Sub(begun)
	if l.adopted {
		names = AllServices(l.state, l.table)
	}
	l.follow(names, changes.HealthChecks || whole, changes.LocalhostPorts || whole)
	l.warnOfServices()
	if l.failure != nil {
		return l.failure
	}
	l.succeed()
	if whole {
		debug.FreeOSMemory() // What goes to the kernel at once is as much as what stays.
	}
	if recovering || whole {
		l.Logger.Info("the kernel holds the whole ruleset", "frontends", l.table.Len(), "revision", l.revision, "took", l.took)
	} else if l.Logger.IsDebug() {
		l.Logger.Debug("applied", "frontends", len(changes.Frontends), "revision", l.revision, "took", l.took)
	}
	return nil
}

// update brings one family up to date, after what to do was computed for both, or
// arranges for another attempt.
func (l *Loop) update(ctx context.Context, p *plane, changes *ruleset.Changes, computing time.Duration) {
	begun := l.Now()
	attempt := Attempt{Family: p.Family(), Whole: p.whole, Repair: p.repairing}
	is6 := p.Family() == dataplane.IPv6
	switch {
	case p.whole:
		p.missing = !p.Supported() // If that changes, the plane wants to be replaced.
		attempt.Frontends = l.table.LenOf(is6)
		attempt.Err = p.Replace(ctx, l.settings, l.table)
	case changes.Touch(is6):
		attempt.Frontends = changes.Len(is6)
		attempt.Err = p.Apply(ctx, changes)
	}
	attempt.Missing = p.missing
	attempt.NoLocal, attempt.Duration = l.table.NoLocal(is6), computing+l.Now().Sub(begun)
	l.Observer.Applied(attempt)
	if attempt.Err != nil {
		l.fail(p, attempt.Err)
		return
	}
	p.whole, p.repairing = false, false
}

// tellFrontends passes on which frontends there are.
func (l *Loop) tellFrontends(changes *ruleset.Changes) {
	if l.Frontends != nil {
		l.Frontends(changes.Frontends)
		l.Frontends(changes.Moved)
	}
}

// warnOfServices passes on what of Services is not in force as they ask for it.
func (l *Loop) warnOfServices() {
	var list []*discoveryv1.Warning
	for _, p := range l.planes {
		for _, w := range p.Warnings() {
			list = append(list, &discoveryv1.Warning{
				Name:   &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_SERVICE, Name: w.Service},
				Reason: w.Reason, Message: w.Message,
			})
		}
	}
	l.Warn("data plane", list)
}

// follow does what comes after the rules are in force, as far as they are.
func (l *Loop) follow(names map[string]struct{}, healthChecks, localhostPorts bool) {
	if l.CleanConntrack != nil {
		serving := l.table.Serving(maps.Keys(names), l.view)
		for _, p := range l.planes {
			if p.whole {
				maps.DeleteFunc(serving, func(key ruleset.Key, _ []netip.AddrPort) bool {
					return key.Addr.Is6() == (p.Family() == dataplane.IPv6)
				})
			}
		}
		l.CleanConntrack(serving)
	}
	if l.HealthChecks != nil && healthChecks {
		l.HealthChecks(l.table.HealthChecks())
	}
	if l.LocalhostPorts != nil && localhostPorts {
		l.LocalhostPorts(l.table.LocalhostPorts())
	}
}

// fail arranges for a replacement of everything in a family, later each time.
func (l *Loop) fail(p *plane, err error) {
	p.whole = true
	// What both families fail for is said once.
	if l.failure == nil || l.failure.Error() != err.Error() {
		l.failure = errors.Join(l.failure, err)
	}
	l.retryAfter = min(max(2*l.retryAfter, firstRetry), lastRetry)
	l.retry.Reset(l.retryAfter)
	l.Logger.Error("cannot change the kernel's rules; those before stay in force", "family", p.Family(), "error", err, "next attempt in", l.retryAfter)
}

// succeed is called when the kernel is up to date in every family.
func (l *Loop) succeed() {
	l.retryAfter, l.adopted = 0, false
	l.retry.Stop()
	l.collectLater()
	if l.CheckpointPath != "" && !l.checkpointing {
		l.checkpointing = true
		l.checkpoint.Reset(max(checkpointDelay, l.writer.pause()))
	}
}

func (l *Loop) collectLater() {
	if !l.collecting && slices.ContainsFunc(l.planes, func(p *plane) bool { return p.Pending() }) {
		l.collecting = true
		l.collect.Reset(collectDelay)
	}
}

func (l *Loop) view(name string) ruleset.View { return View(l.state, name) }

// writeCheckpoint hands the state, as it is now, to the writer.
func (l *Loop) writeCheckpoint() {
	l.checkpoint.Stop()
	l.checkpointing = false
	if l.CheckpointPath == "" || !l.told || l.behind() {
		return
	}
	orders, err := json.Marshal(l.table.Orders())
	if err != nil {
		l.Logger.Error("a restart will number backends anew, and so write all of them", "error", err)
	}
	l.writer.write(l.state.Snapshot(state.Checkpoint{
		Node: l.Node, Written: l.Now().UTC().Truncate(time.Millisecond), Revision: l.revision, Source: l.source, Extra: orders,
	}))
}
