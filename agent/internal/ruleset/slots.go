package ruleset

import (
	"net/netip"
	"slices"
)

// arrange puts the wanted backends into slots so that as few slots as possible
// differ from the old ones: a backend whose slot still exists stays in it; holes
// are filled by new backends and by those whose slot is gone.
func arrange(old, want []netip.AddrPort) []netip.AddrPort {
	wanted := slices.Clone(want)
	slices.SortFunc(wanted, netip.AddrPort.Compare)
	wanted = slices.Compact(wanted)
	if len(wanted) == 0 {
		return nil
	}
	slots := make([]netip.AddrPort, len(wanted))
	placed := make(map[netip.AddrPort]struct{}, len(wanted))
	for i, backend := range old {
		if i >= len(slots) {
			break
		}
		if _, found := slices.BinarySearchFunc(wanted, backend, netip.AddrPort.Compare); found {
			slots[i] = backend
			placed[backend] = struct{}{}
		}
	}
	next := 0
	for _, backend := range wanted {
		if _, ok := placed[backend]; ok {
			continue
		}
		for slots[next].IsValid() {
			next++
		}
		slots[next] = backend
	}
	return slots
}
