package address_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/api/address"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain IPv4", "192.0.2.1", "192.0.2.1"},
		{"leading zeros are decimal, not octal", "198.051.100.020", "198.51.100.20"},
		{"any number of leading zeros", "0000010.000.00.0001", "10.0.0.1"},
		{"blanks are trimmed", " 192.0.2.1\t", "192.0.2.1"},
		{"plain IPv6", "2001:db8::1", "2001:db8::1"},
		{"IPv6 is normalized", "2001:0DB8:0:0::0001", "2001:db8::1"},
		{"leading zeros at the end of IPv6", "64:ff9b::010.0.0.01", "64:ff9b::a00:1"},
		{"IPv4-mapped stays what it is", "::ffff:10.0.0.1", "::ffff:10.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := address.Parse(tc.in)
			if err != nil || got.String() != tc.want {
				t.Errorf("Parse(%q) = %v, %v, want %s", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{"", " ", "10.0.0", "10.0.0.0.1", "10.0.0.256", "10..0.1", "0x0a.0.0.1", "10.0.0.1/32", "fe80::1%eth0", "localhost", "1.2.3.-4"} {
		if got, err := address.Parse(in); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", in, got)
		} else if !strings.Contains(err.Error(), "not an IP address") {
			t.Errorf("Parse(%q): %v does not say what was expected", in, err)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8":        "10.0.0.0/8",
		" 10.0.0.0/8 ":      "10.0.0.0/8", //nolint:gocritic // The blanks are the point.
		"10.1.2.3/8":        "10.0.0.0/8",
		"010.001.0.0/016":   "10.1.0.0/16",
		"2001:db8::1/32":    "2001:db8::/32",
		"0.0.0.0/0":         "0.0.0.0/0",
		"10.0.0.0":          "",
		"10.0.0.0/":         "",
		"10.0.0.0/33":       "",
		"/8":                "",
		"":                  "",
		"::ffff:10.0.0.0/8": "",
	} {
		got, err := address.ParsePrefix(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("ParsePrefix(%q) = %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for in, reason := range map[string]string{
		"10.0.0.1":                 "",
		"192.0.2.1":                "",
		"100.100.100.201":          "",
		"223.255.255.255":          "",
		"2001:db8::1":              "",
		"fd00:ec2::253":            "",
		"64:ff9b::10.0.0.1":        "",
		"2002:a00:1::1":            "",
		"127.0.0.1":                "loopback",
		"127.255.255.254":          "loopback",
		"::1":                      "loopback",
		"169.254.1.1":              "link-local",
		"fe80::1":                  "link-local",
		"224.0.0.1":                "multicast",
		"239.1.1.1":                "multicast",
		"ff05::1":                  "multicast",
		"0.0.0.0":                  "unspecified",
		"::":                       "unspecified",
		"0.0.0.1":                  "0.0.0.0/8",
		"255.255.255.255":          "broadcast",
		"240.0.0.1":                "240.0.0.0/4",
		"169.254.169.254":          "metadata",
		"100.100.100.200":          "metadata",
		"fd00:ec2::254":            "metadata",
		"::ffff:10.0.0.1":          "IPv4-mapped",
		"64:ff9b::127.0.0.1":       "IPv6 form of a loopback",
		"64:ff9b::169.254.169.254": "IPv6 form of a cloud metadata",
		"2002:7f00:1::":            "IPv6 form of a loopback",
		"::127.0.0.1":              "IPv6 form of a loopback",
	} {
		addr := netip.MustParseAddr(in)
		for what, err := range map[string]error{"endpoint": address.CheckEndpoint(addr), "Service's address": address.CheckVIP(addr)} {
			if reason == "" && err != nil {
				t.Errorf("%s as %s: %v, want it allowed", in, what, err)
			}
			if reason != "" && (err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), what)) {
				t.Errorf("%s as %s: %v, want %q", in, what, err, reason)
			}
		}
	}
	if address.CheckEndpoint(netip.Addr{}) == nil {
		t.Error("the zero Addr is allowed")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "198.051.100.020", " ::1", "::ffff:010.0.0.1", "fe80::1%eth0", "0", ":::", "0.0.0.", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addr, err := address.Parse(s)
		strict, strictErr := netip.ParseAddr(strings.TrimSpace(s))
		if strictErr == nil && strict.Zone() == "" && (err != nil || addr != strict) {
			t.Errorf("Parse(%q) = %v, %v, but netip reads %v", s, addr, err, strict)
		}
		if err != nil {
			return
		}
		again, err := address.Parse(addr.String())
		if err != nil || again != addr {
			t.Errorf("Parse(%q) = %v does not parse as itself: %v, %v", s, addr, again, err)
		}
		_, _ = address.CheckEndpoint(addr), address.CheckVIP(addr)
	})
}
