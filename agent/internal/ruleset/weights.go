package ruleset

import (
	"encoding/binary"
	"net/netip"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// Weights are the relative weights of a list of backends, by slot: 1 for all if it is the
// zero value, which most are. It is immutable, and equal weights are equal as values.
type Weights struct {
	// packed has two bytes for each.
	packed string
}

// MaxWeight is the largest that IPVS reads back as it was set: its dumps have 16 bits.
const MaxWeight = 65535

// PackWeights returns weights, of which those that are 0 count as 1 and those that are too
// large as the largest there is.
func PackWeights(list ...uint32) Weights {
	var packed []byte
	plain := true
	for _, w := range list {
		w = min(max(w, 1), MaxWeight)
		plain = plain && w == 1
		packed = binary.BigEndian.AppendUint16(packed, uint16(w))
	}
	if plain {
		return Weights{}
	}
	return Weights{string(packed)}
}

// At returns the weight of a slot.
func (w Weights) At(slot int) int {
	if w.packed == "" {
		return 1
	}
	return int(w.packed[2*slot])<<8 | int(w.packed[2*slot+1])
}

// Plain tells whether all weights are 1.
func (w Weights) Plain() bool { return w.packed == "" }

// weigh returns the weights of the backends of a port. Where slices disagree on an
// endpoint, the largest counts.
func weigh(view View, port state.Port, backends Backends) Weights {
	found := map[netip.AddrPort]uint32{}
	view.each(func(group state.Group) {
		for _, p := range group.Ports {
			if p.Name != port.Name || p.Protocol != port.Protocol {
				continue
			}
			for e := range group.Endpoints.All() {
				if e.Weight > 1 {
					at := netip.AddrPortFrom(e.Addr, p.Port)
					found[at] = max(found[at], e.Weight)
				}
			}
		}
	})
	if len(found) == 0 {
		return Weights{}
	}
	list := make([]uint32, backends.Len())
	for slot, backend := range backends.All() {
		list[slot] = found[backend]
	}
	return PackWeights(list...)
}

// each calls a function with every group of endpoints of the view.
func (v View) each(do func(state.Group)) {
	for _, set := range v.Sets {
		for _, group := range set.Groups {
			do(group)
		}
	}
	if v.Local == nil {
		return
	}
	for _, groups := range [][]state.Group{v.Local.Local, v.Local.Preferred} {
		for _, group := range groups {
			do(group)
		}
	}
}

// weighted tells whether any endpoint has a weight, which most views need not be searched
// for.
func (v View) weighted() bool {
	weighted := false
	v.each(func(group state.Group) { weighted = weighted || group.Endpoints.Weighted() })
	return weighted
}
