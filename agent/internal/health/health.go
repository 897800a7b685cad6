// Package health says whether the node's rules follow the cluster, and answers
// /healthz and /livez with it in kube-proxy's form.
//
// A family is unhealthy while it has had a change that is not in the kernel for two
// sync periods or longer. Nothing to do is healthy, however long ago the last
// change was.
package health

import (
	"sync"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/state"
)

const (
	// defaultSyncPeriod is kube-proxy's, for a node that has no configuration yet.
	defaultSyncPeriod = 30 * time.Second
	// patience is how many sync periods a change may wait.
	patience = 2
)

var families = []dataplane.Family{dataplane.IPv4, dataplane.IPv6}

// Tracker follows how far the kernel's rules are behind. It is safe for concurrent
// use.
type Tracker struct {
	now func() time.Time

	mu         sync.Mutex
	families   map[dataplane.Family]progress
	syncPeriod time.Duration
	eligible   bool
}

// progress is how far one family is.
type progress struct {
	// queued is when the oldest change that is not in the kernel was queued; zero
	// if there is none.
	queued, updated time.Time
}

// New returns a tracker of a node that has nothing to do. As in kube-proxy, the
// families count as up to date from the start.
func New(now func() time.Time) *Tracker {
	t := &Tracker{now: now, families: map[dataplane.Family]progress{}, syncPeriod: defaultSyncPeriod, eligible: true}
	for _, family := range families {
		t.families[family] = progress{updated: now()}
	}
	return t
}

// Queued notes that there is something to apply, for every family.
func (t *Tracker) Queued() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for family := range t.families {
		t.queue(family)
	}
}

// Missing notes that the node does not have a family: there is nothing to say of it.
func (t *Tracker) Missing(family dataplane.Family) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.families, family)
}

func (t *Tracker) queue(family dataplane.Family) {
	p := t.families[family]
	if p.queued.IsZero() {
		p.queued = t.now()
		t.families[family] = p
	}
}

// Applied notes an attempt to bring a family's rules up to date. After one that
// failed there is something to apply, even if it was only to look after the rules.
func (t *Tracker) Applied(family dataplane.Family, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.queue(family)
		return
	}
	t.families[family] = progress{updated: t.now()}
}

// Configured notes the node's configuration; nil if the Node is gone.
func (t *Tracker) Configured(config *state.NodeConfig) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.eligible = config != nil && config.Ineligible == ""
	if config != nil && config.SyncPeriod > 0 {
		t.syncPeriod = config.SyncPeriod
	}
}

// Healthy tells whether no change has waited for too long.
func (t *Tracker) Healthy() bool { return t.report().Healthy }
