package address

import (
	"errors"
	"net/netip"
)

// CheckEndpoint tells why traffic must never be sent to the address; nil means
// that it may.
func CheckEndpoint(addr netip.Addr) error {
	if kind := forbidden(addr); kind != "" {
		return errors.New(kind + " must not be an endpoint")
	}
	return nil
}

// CheckVIP tells why traffic to the address must never be captured; nil means
// that it may.
func CheckVIP(addr netip.Addr) error {
	if kind := forbidden(addr); kind != "" {
		return errors.New(kind + " must not be a Service's address")
	}
	return nil
}

var (
	// metadata are the addresses at which clouds hand out a machine's
	// credentials: AWS, GCP, Azure and others; Alibaba; AWS over IPv6.
	metadata = []netip.Addr{
		netip.MustParseAddr("169.254.169.254"),
		netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("fd00:ec2::254"),
	}
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3
	reserved    = netip.MustParsePrefix("240.0.0.0/4")
	broadcast   = netip.MustParseAddr("255.255.255.255")
)

// embeddings are IPv6 ranges whose addresses carry an IPv4 address that a
// translator or tunnel on the way delivers to, at the given byte.
var embeddings = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64, RFC 6052
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible, RFC 4291 §2.5.5.1
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4, RFC 3056
}

// forbidden names the kind of a forbidden address, or is empty.
func forbidden(addr netip.Addr) string {
	for _, m := range metadata {
		if addr.WithZone("") == m {
			return "a cloud metadata address"
		}
	}
	switch {
	case !addr.IsValid():
		return "an invalid address"
	case addr.Is4In6():
		return "an IPv4-mapped IPv6 address"
	case addr.IsUnspecified():
		return "the unspecified address"
	case addr.IsLoopback():
		return "a loopback address"
	case addr.IsLinkLocalUnicast():
		return "a link-local address"
	case addr.IsMulticast():
		return "a multicast address"
	case addr == broadcast:
		return "the broadcast address"
	case thisNetwork.Contains(addr):
		return "an address of 0.0.0.0/8"
	case reserved.Contains(addr):
		return "an address of 240.0.0.0/4"
	}
	return forbiddenInside(addr)
}

func forbiddenInside(addr netip.Addr) string {
	for _, e := range embeddings {
		if !e.prefix.Contains(addr) {
			continue
		}
		bytes := addr.As16()
		inner := netip.AddrFrom4([4]byte(bytes[e.at : e.at+4]))
		if kind := forbidden(inner); kind != "" {
			return "an IPv6 form of " + kind
		}
	}
	return ""
}
