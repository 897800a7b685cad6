package ruleset

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPackedBackendsAreWhatWasPacked for lists of one family, of both, and with
// IPv4-mapped addresses.
func TestPackedBackendsAreWhatWasPacked(t *testing.T) {
	port := rapid.Uint16()
	four := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port.Draw(t, "port"))
	})
	six := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), port.Draw(t, "port"))
	})
	mapped := rapid.Map(four, func(b netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(b.Addr().As16()), b.Port())
	})
	lists := rapid.OneOf(rapid.SliceOf(four), rapid.SliceOf(six), rapid.SliceOf(mapped), rapid.SliceOf(rapid.OneOf(four, six, mapped)))
	rapid.Check(t, func(t *rapid.T) {
		want := lists.Draw(t, "backends")
		packed := PackBackends(want...)
		if got := packed.List(); !slices.Equal(got, want) || packed.Len() != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for slot, backend := range packed.All() {
			if backend != want[slot] || packed.At(slot) != want[slot] {
				t.Fatalf("slot %d: %v, want %v", slot, backend, want[slot])
			}
		}
		other := lists.Draw(t, "others")
		if (PackBackends(other...) == packed) != slices.Equal(other, want) {
			t.Fatal("lists are equal and their packed forms are not, or the other way round")
		}
	})
}
