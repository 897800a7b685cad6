package address

import (
	"fmt"
	"net/netip"
	"strings"
)

// Parse reads an IP address. Blanks around it are ignored and leading zeros of
// IPv4 numbers mean nothing: Kubernetes still accepts "198.051.100.020" in
// stored objects and reads it as decimal, unlike netip. Zones are refused.
func Parse(s string) (netip.Addr, error) {
	text := strings.TrimSpace(s)
	addr, err := netip.ParseAddr(trimZeros(text))
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", s)
	}
	return addr, nil
}

// ParsePrefix reads a CIDR as leniently as Parse and clears its host bits.
func ParsePrefix(s string) (netip.Prefix, error) {
	text, bits, _ := strings.Cut(strings.TrimSpace(s), "/")
	prefix, err := netip.ParsePrefix(trimZeros(text) + "/" + trimNumber(bits))
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not a CIDR", s)
	}
	return prefix.Masked(), nil
}

// trimZeros drops the leading zeros of dotted decimal numbers, also of those at
// the end of an IPv6 address.
func trimZeros(s string) string {
	start := strings.LastIndexByte(s, ':') + 1
	if !strings.Contains(s[start:], ".") {
		return s
	}
	numbers := strings.Split(s[start:], ".")
	for i, number := range numbers {
		numbers[i] = trimNumber(number)
	}
	return s[:start] + strings.Join(numbers, ".")
}

func trimNumber(s string) string {
	trimmed := strings.TrimLeft(s, "0")
	if trimmed == "" && s != "" {
		return "0"
	}
	return trimmed
}
