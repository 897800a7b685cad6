package metrics

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// pending is what has been queued and is not in the kernel.
type pending struct {
	started             time.Time
	services, endpoints int
	// behind has the families that do not hold all that was queued.
	behind map[dataplane.Family]bool
	// triggered has, by family and EndpointSet, when what is queued was triggered.
	triggered map[dataplane.Family]map[string]time.Time
	// seen has the last trigger time of each EndpointSet. A set that is sent again,
	// or that changed with another slice of its Service, says the same as before; it
	// did not take that long.
	seen map[string]time.Time
}

func newPending(started time.Time) pending {
	p := pending{started: started, behind: map[dataplane.Family]bool{}, triggered: map[dataplane.Family]map[string]time.Time{}, seen: map[string]time.Time{}}
	for _, family := range families {
		p.triggered[family] = map[string]time.Time{}
	}
	return p
}

// queue takes a transaction and returns how many changes it is.
func (p *pending) queue(tx *subscribe.Transaction) (services, endpoints int) {
	count := func(kind discoveryv1.Kind) {
		switch kind {
		case discoveryv1.Kind_KIND_SERVICE:
			services++
		case discoveryv1.Kind_KIND_ENDPOINT_SET, discoveryv1.Kind_KIND_LOCAL_ENDPOINTS:
			endpoints++
		default:
		}
	}
	for _, name := range tx.Removed {
		count(name.Kind)
		if name.Kind == discoveryv1.Kind_KIND_ENDPOINT_SET {
			p.forget(name.Name)
		}
	}
	for name := range tx.Resources.Names() {
		count(name.Kind)
	}
	for _, family := range families {
		p.behind[family] = true
	}
	p.services += services
	p.endpoints += endpoints
	return services, endpoints
}

// trigger remembers when a resource's change was triggered. Of changes from before
// this process it cannot be told how long they took.
func (p *pending) trigger(r *discoveryv1.Resource) {
	groups := r.GetEndpointSet().GetGroups()
	if r.GetLastChangeTriggerTime() == nil || len(groups) == 0 || len(groups[0].GetEndpoints()) == 0 {
		return
	}
	at := r.GetLastChangeTriggerTime().AsTime()
	if !at.After(p.started) || at.Equal(p.seen[r.GetName()]) {
		return
	}
	p.seen[r.GetName()] = at
	// The endpoints of a set are of one slice, and so of one family.
	family := dataplane.IPv4
	if strings.Contains(groups[0].GetEndpoints()[0].GetAddress(), ":") {
		family = dataplane.IPv6
	}
	p.triggered[family][r.GetName()] = at
}

func (p *pending) forget(endpointSet string) {
	delete(p.seen, endpointSet)
	for _, family := range families {
		delete(p.triggered[family], endpointSet)
	}
}

// reject forgets what will not be in the kernel.
func (p *pending) reject(list []*discoveryv1.RejectedResource) {
	for _, r := range list {
		if r.GetName().GetKind() == discoveryv1.Kind_KIND_ENDPOINT_SET {
			p.forget(r.GetName().GetName())
		}
	}
}

// applied notes that the kernel holds everything of a family and returns when that
// was triggered.
func (p *pending) applied(family dataplane.Family) []time.Time {
	delete(p.behind, family)
	if len(p.behind) == 0 {
		p.services, p.endpoints = 0, 0
	}
	triggered := slices.Collect(maps.Values(p.triggered[family]))
	clear(p.triggered[family])
	return triggered
}
