package lab

import (
	"maps"
	"net/netip"
	"testing"
)

func TestSightingsAreReadFromWhatNftPrints(t *testing.T) {
	got := map[Key]Sighting{}
	err := parseSightings(`table inet conformance {
	set seen6 {
		type inet_proto . inet_service . ipv6_addr . inet_service . mark
		elements = { tcp . 33000 . fd00::1 . 80 . 0x00000000,
			     udp . 33001 . fd00::2 . 53 . 0x00004000 }
	}
}`, got)
	want := map[Key]Sighting{
		{"tcp", 33000}: {netip.MustParseAddrPort("[fd00::1]:80"), 0},
		{"udp", 33001}: {netip.MustParseAddrPort("[fd00::2]:53"), 0x4000},
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := parseSightings("set seen4 { type mark }", got); err != nil {
		t.Errorf("an empty set: %v", err)
	}
	for _, bad := range []string{"tcp . 1 . fd00::1 . 80", "tcp . x . fd00::1 . 80 . 0x0", "tcp . 1 . y . 80 . 0x0", "tcp . 1 . ::1 . 80 . z"} {
		if err := parseSightings("elements = { "+bad+" }", got); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
