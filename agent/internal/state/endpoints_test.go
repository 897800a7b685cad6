package state

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPackedEndpointsAreWhatWasPacked for lists of every family and mixtures of them.
func TestPackedEndpointsAreWhatWasPacked(t *testing.T) {
	address := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) netip.Addr {
			return netip.AddrFrom16(netip.AddrFrom4([4]byte(b)).As16()) // IPv4-mapped.
		}),
	)
	endpoint := rapid.Custom(func(t *rapid.T) Endpoint {
		return Endpoint{
			Addr: address.Draw(t, "address"), Terminating: rapid.Bool().Draw(t, "terminating"),
			Draining: rapid.Bool().Draw(t, "draining"), Weight: rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "weight"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(endpoint).Draw(t, "endpoints")
		packed := PackEndpoints(want...)
		if got := slices.Collect(packed.All()); !slices.Equal(got, want) || packed.Len() != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if again := PackEndpoints(want...); again != packed {
			t.Fatal("equal lists are packed in different ways")
		}
		for first := range packed.All() {
			if first != want[0] {
				t.Fatalf("first %v, want %v", first, want[0])
			}
			break
		}
	})
}
