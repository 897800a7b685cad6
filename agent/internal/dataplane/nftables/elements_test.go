package nftables

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// kernelMap is a map as the kernel keeps it: to add what is there and to delete
// what is not are errors.
type kernelMap map[string]string

func (m kernelMap) commit(t *rapid.T, b *batch, set string) {
	for e := range b.deleted[set].elements() {
		if _, ok := m[e.key]; !ok {
			t.Fatalf("deletes slot %x, which is not there", e.key)
		}
		delete(m, e.key)
	}
	for e := range b.added[set].elements() {
		if _, ok := m[e.key]; ok {
			t.Fatalf("adds slot %x, which is there", e.key)
		}
		m[e.key] = e.value
	}
}

func slotKey(k ruleset.Key, slot int) string {
	return slotElement(endpoints, k, slot, netip.AddrPort{}).key
}

// TestASlotThatCanBePickedIsAlwaysThere: a packet that read the number of backends
// before a commit finds its slot after it, and in the slot a backend that is valid
// now. Lists shrink and grow, frontends go and return, and spare slots are
// collected at any time.
func TestASlotThatCanBePickedIsAlwaysThere(t *testing.T) {
	k := ruleset.Key{Addr: netip.MustParseAddr("10.96.0.1"), Protocol: state.TCP, Port: 80}
	rapid.Check(t, func(t *rapid.T) {
		kernel, spare := kernelMap{}, spares{}
		var old *ruleset.Frontend
		for range rapid.IntRange(1, 12).Draw(t, "commits") {
			var next *ruleset.Frontend
			if rapid.IntRange(0, 5).Draw(t, "gone") > 0 {
				next = &ruleset.Frontend{Key: k, Backends: ruleset.PackBackends(drawBackends(t)...)}
			}
			if old == nil && next == nil {
				continue
			}
			b := newBatch(ipv4)
			b.change(ruleset.Change{Old: old, New: next}, spare)
			kernel.commit(t, b, endpoints)
			checkSlots(t, kernel, k, old, next)
			if rapid.Bool().Draw(t, "collect") {
				b := newBatch(ipv4)
				for _, e := range spare {
					b.delete(e.element)
				}
				kernel.commit(t, b, endpoints)
				clear(spare)
				if want := orEmpty(next).Backends.Len(); len(kernel) != want {
					t.Fatalf("%d slots after collecting, want %d", len(kernel), want)
				}
			}
			old = next
		}
	})
}

func drawBackends(t *rapid.T) []netip.AddrPort {
	var list []netip.AddrPort
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(1, 9), 0, 6, rapid.ID[int]).Draw(t, "backends") {
		list = append(list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80))
	}
	return list
}

func checkSlots(t *rapid.T, kernel kernelMap, k ruleset.Key, old, next *ruleset.Frontend) {
	now := orEmpty(next).Backends.List()
	for slot, backend := range now {
		if kernel[slotKey(k, slot)] != backendValue(backend) {
			t.Fatalf("slot %d does not lead to %s", slot, backend)
		}
	}
	for slot, before := range orEmpty(old).Backends.All() {
		value, ok := kernel[slotKey(k, slot)]
		switch {
		case next == nil:
			if value != backendValue(before) {
				t.Fatalf("the frontend is gone, and slot %d with it, although packets may be under way", slot)
			}
		case len(now) == 0:
			if ok {
				t.Fatalf("slot %d still leads to a backend that is not valid", slot)
			}
		case !ok:
			t.Fatalf("slot %d is gone, although the generation before can pick it", slot)
		case !slices.ContainsFunc(now, func(b netip.AddrPort) bool { return backendValue(b) == value }):
			t.Fatalf("slot %d leads to a backend that is not valid", slot)
		}
	}
}
