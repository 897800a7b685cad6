package admission

import (
	"maps"
	"net/netip"
	"slices"
)

// ranges are the CIDRs of all ServiceCIDRs, by name. There are few of them.
type ranges map[string][]netip.Prefix

// containing returns the first ServiceCIDR by name that has the address, and which
// of its CIDRs does.
func (r ranges) containing(addr netip.Addr) (name string, cidr netip.Prefix) {
	for other, cidrs := range r {
		for _, prefix := range cidrs {
			if prefix.Contains(addr) && (name == "" || other < name) {
				name, cidr = other, prefix
			}
		}
	}
	return name, cidr
}

// replaceRange changes a ServiceCIDR and asks again about the outside addresses that
// lie in what it was or is. That looks at all of them, but nothing else does.
func (b *Batch) replaceRange(name string, cidrs []netip.Prefix) {
	before := b.w.cidrs[name]
	if slices.Equal(before, cidrs) {
		return
	}
	if b.w.cidrs[name] = cidrs; len(cidrs) == 0 {
		delete(b.w.cidrs, name)
	}
	either := slices.Concat(before, cidrs)
	for addr := range maps.Keys(b.w.outside.first) {
		if slices.ContainsFunc(either, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			b.w.outside.each(addr, b.markService)
		}
	}
}
