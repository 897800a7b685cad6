package topology

import (
	"slices"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Decision is which of the candidates each node may use. Its lists hold indexes
// into the candidates, ascending.
type Decision struct {
	// Cluster is for nodes that no other list applies to.
	Cluster []int
	// Terminating is set if Cluster is the fallback to terminating endpoints.
	Terminating bool
	// Zones and Preferred replace Cluster for the zones and the nodes in them;
	// Preferred has precedence.
	Zones     map[string][]int
	Preferred map[string][]int
	// Local is for Local traffic policies, by node. A node without an entry has
	// no local endpoint.
	Local map[string][]int
}

// Decide returns which of the candidates may be used where. The candidates must
// be of one Service port and family, without duplicates.
func Decide(candidates []model.Endpoint) Decision {
	var d Decision
	ready := filter(candidates, isReady)
	if len(ready) == 0 {
		d.Cluster = filter(candidates, isServingTerminating)
		d.Terminating = len(d.Cluster) > 0
	} else {
		d.Cluster = ready
		d.Preferred = byHint(candidates, ready, func(e *model.Endpoint) []string { return e.NodeHints })
		d.Zones = byHint(candidates, ready, func(e *model.Endpoint) []string { return e.ZoneHints })
	}
	d.Local = byNode(candidates)
	return d
}

// For returns what a node in a zone uses for Cluster traffic.
func (d *Decision) For(node, zone string) []int {
	if preferred, ok := d.Preferred[node]; ok && node != "" {
		return preferred
	}
	return d.ForZone(zone)
}

// ForZone returns what the nodes of a zone use for Cluster traffic unless they
// are in Preferred.
func (d *Decision) ForZone(zone string) []int {
	if list, ok := d.Zones[zone]; ok && zone != "" {
		return list
	}
	return d.Cluster
}

// Anybody tells whether any node may use a candidate.
func (d *Decision) Anybody(index int) bool {
	has := func(list []int) bool {
		_, found := slices.BinarySearch(list, index)
		return found
	}
	if has(d.Cluster) {
		return true
	}
	for _, by := range []map[string][]int{d.Zones, d.Preferred, d.Local} {
		for _, list := range by {
			if has(list) {
				return true
			}
		}
	}
	return false
}

// isReady includes endpoints that are ready by decree although they terminate or
// do not serve (publishNotReadyAddresses).
func isReady(e *model.Endpoint) bool { return e.Ready }

func isServingTerminating(e *model.Endpoint) bool {
	return !e.Ready && e.Serving && e.Terminating
}

func filter(candidates []model.Endpoint, keep func(*model.Endpoint) bool) []int {
	var list []int
	for i := range candidates {
		if keep(&candidates[i]) {
			list = append(list, i)
		}
	}
	return list
}

// byHint groups the ready endpoints by the places they are hinted to. It returns
// nil unless every one of them has a hint.
func byHint(candidates []model.Endpoint, ready []int, hints func(*model.Endpoint) []string) map[string][]int {
	places := map[string][]int{}
	for _, i := range ready {
		named := hints(&candidates[i])
		if len(named) == 0 {
			return nil
		}
		for _, place := range named {
			if list := places[place]; len(list) == 0 || list[len(list)-1] != i {
				places[place] = append(list, i)
			}
		}
	}
	return places
}

func byNode(candidates []model.Endpoint) map[string][]int {
	ready, terminating := map[string][]int{}, map[string][]int{}
	for i := range candidates {
		e := &candidates[i]
		switch {
		case e.Node == "":
		case isReady(e):
			ready[e.Node] = append(ready[e.Node], i)
		case isServingTerminating(e):
			terminating[e.Node] = append(terminating[e.Node], i)
		}
	}
	for node, list := range terminating {
		if len(ready[node]) == 0 {
			ready[node] = list
		}
	}
	return ready
}
