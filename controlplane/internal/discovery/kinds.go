package discovery

import (
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// kinds is a set of kinds.
type kinds uint64

// kindsOf returns the set of those that are known here; none listed means all.
func kindsOf(listed []discoveryv1.Kind) kinds {
	var set kinds
	for _, kind := range resource.Kinds {
		if len(listed) == 0 {
			set |= 1 << kind
		}
	}
	for _, kind := range listed {
		if kind > 0 && kind < 64 {
			set |= 1 << kind
		}
	}
	return set & known()
}

func known() kinds {
	var set kinds
	for _, kind := range resource.Kinds {
		set |= 1 << kind
	}
	return set
}

func (k kinds) has(kind discoveryv1.Kind) bool { return kind > 0 && kind < 64 && k&(1<<kind) != 0 }

// own returns those of which each node has its own resources, and common the others.
func (k kinds) own() kinds { return k &^ k.common() }

func (k kinds) common() kinds {
	for _, kind := range resource.Kinds {
		if snapshot.OfNode(kind) {
			k &^= 1 << kind
		}
	}
	return k
}

// list returns the kinds in the order in which transactions carry them.
func (k kinds) list() []discoveryv1.Kind {
	var list []discoveryv1.Kind
	for _, kind := range resource.Kinds {
		if k.has(kind) {
			list = append(list, kind)
		}
	}
	return list
}

// digest returns the XOR over all resources of these kinds in the view.
func (k kinds) digest(view snapshot.View) uint64 {
	var sum uint64
	for entry := range view.All(k.has) {
		sum ^= contribution(entry)
	}
	return sum
}
