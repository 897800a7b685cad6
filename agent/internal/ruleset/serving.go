package ruleset

import (
	"iter"
	"net/netip"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// Serving says which endpoints still serve the connections of UDP frontends,
// whatever the policies say of new ones. It is immutable once it is handed over.
type Serving map[Key][]netip.AddrPort

// UDP returns the key of a UDP frontend.
func UDP(addr netip.AddrPort) Key {
	return Key{Addr: addr.Addr(), Protocol: state.UDP, Port: addr.Port()}
}

// Family returns the part of one address family.
func (s Serving) Family(is6 bool) Serving {
	part := Serving{}
	for key, endpoints := range s {
		if key.Addr.Is6() == is6 {
			part[key] = endpoints
		}
	}
	return part
}

// Serving returns what serves the UDP frontends of the named Services. Frontends
// that nothing serves are left out: their connections are left alone, and new
// ones are refused.
func (t *Table) Serving(names iter.Seq[string], view func(name string) View) Serving {
	all := Serving{}
	for name := range names {
		rules := t.services[name]
		if rules == nil {
			continue
		}
		v := view(name)
		for _, f := range rules.frontends {
			if f.Protocol != state.UDP || t.owner[f.Key] != f {
				continue
			}
			if endpoints := servingEndpoints(v, f); len(endpoints) > 0 {
				all[f.Key] = endpoints
			}
		}
	}
	return all
}

// servingEndpoints returns every endpoint that the node knows to serve a frontend's
// port, those that drain included.
func servingEndpoints(view View, f *Frontend) []netip.AddrPort {
	var list []netip.AddrPort
	add := func(groups []state.Group) {
		list = matching(list, groups, state.Port{Name: f.PortName, Protocol: f.Protocol}, f.Addr.Is6(), serving)
	}
	for _, set := range view.Sets {
		add(set.Groups)
	}
	if view.Local != nil {
		add(view.Local.Local)
		add(view.Local.Preferred)
	}
	return list
}
