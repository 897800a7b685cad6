package ruleset

import (
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// arrange puts the wanted backends into slots so that as few slots as possible
// differ from the old ones: a backend whose slot still exists stays in it; holes
// are filled by new backends and by those whose slot is gone. The wanted list is used up.
func arrange(old, wanted []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(wanted, netip.AddrPort.Compare)
	wanted = slices.Compact(wanted)
	if len(wanted) == 0 || len(old) == 0 {
		return wanted
	}
	slots := make([]netip.AddrPort, len(wanted))
	placed := make([]bool, len(wanted))
	for i, backend := range old {
		if i >= len(slots) {
			break
		}
		if at, found := slices.BinarySearchFunc(wanted, backend, netip.AddrPort.Compare); found {
			slots[i] = backend
			placed[at] = true
		}
	}
	next := 0
	for at, backend := range wanted {
		if placed[at] {
			continue
		}
		for slots[next].IsValid() {
			next++
		}
		slots[next] = backend
	}
	return slots
}

// slotList is the backends of one port of a Service in one family, by slot: those that
// Cluster traffic uses, or those on this node.
type slotList struct {
	listKey
	backends Backends
}

// slots returns the list of a key; nil rules have none.
func (r *rules) slots(key listKey) Backends {
	if r == nil {
		return Backends{}
	}
	for _, list := range r.lists {
		if list.listKey == key {
			return list.backends
		}
	}
	return Backends{}
}

// Order is the backends of a port by slot, where that is another order than a table
// would give them which is made anew.
type Order struct {
	Service  string           `json:"service"`
	Port     string           `json:"port"`
	Protocol state.Protocol   `json:"protocol"`
	IPv6     bool             `json:"ipv6,omitempty"`
	Local    bool             `json:"local,omitempty"`
	Backends []netip.AddrPort `json:"backends"`
}

// Orders returns the orders that another table must be given to number backends as
// this one does.
func (t *Table) Orders() []Order {
	var orders []Order
	for service, r := range t.services {
		for _, list := range r.lists {
			if backends := list.backends.List(); !slices.IsSortedFunc(backends, netip.AddrPort.Compare) {
				orders = append(orders, Order{service, list.name, list.protocol, list.is6, list.local, backends})
			}
		}
	}
	return orders
}

// Restore gives an empty table the orders of another. What it does not have Services for
// does no harm.
func (t *Table) Restore(orders []Order) {
	for _, o := range orders {
		r := t.services[o.Service]
		if r == nil {
			r = &rules{}
			t.services[o.Service] = r
		}
		r.lists = append(r.lists, slotList{listKey{o.Port, o.Protocol, o.IPv6, o.Local}, PackBackends(o.Backends...)})
	}
}
