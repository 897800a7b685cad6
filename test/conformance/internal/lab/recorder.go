package lab

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Sighting is a first packet that got past everything on the node under test: what it
// was addressed to by then, and with which mark.
type Sighting struct {
	Destination netip.AddrPort
	Mark        uint64
}

// recorder notes first packets after all translation and filtering. It decides
// nothing. Clients have source ports of their own, so a port tells whose packet it was.
const recorder = `table inet conformance {
	set seen4 {
		type inet_proto . inet_service . ipv4_addr . inet_service . mark
		size 65535
		flags dynamic
	}
	set seen6 {
		type inet_proto . inet_service . ipv6_addr . inet_service . mark
		size 65535
		flags dynamic
	}
	chain note {
		meta l4proto != { tcp, udp, sctp } return
		meta nfproto ipv4 add @seen4 { meta l4proto . th sport . ip daddr . th dport . meta mark }
		meta nfproto ipv6 add @seen6 { meta l4proto . th sport . ip6 daddr . th dport . meta mark }
	}
	chain input {
		type filter hook input priority 200
		ct state new jump note
	}
	chain forward {
		type filter hook forward priority 200
		ct state new jump note
	}
	chain output {
		type filter hook output priority 200
		fib daddr type != local ct state new jump note
	}
}
`

func (l *Lab) startRecorder() error {
	_, err := l.Node.Run(recorder, "nft", "-f", "-")
	return err
}

// Key is a client's protocol and source port.
type Key struct {
	Protocol string
	Port     uint16
}

// Sightings returns what was noted since the last call.
func (l *Lab) Sightings() (map[Key]Sighting, error) {
	all := map[Key]Sighting{}
	for _, set := range []string{"seen4", "seen6"} {
		text, err := l.Node.Run("", "nft", "list", "set", "inet", "conformance", set)
		if err != nil {
			return nil, err
		}
		if err := parseSightings(text, all); err != nil {
			return nil, fmt.Errorf("reading %s: %w", set, err)
		}
		if _, err := l.Node.Run("", "nft", "flush", "set", "inet", "conformance", set); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func parseSightings(text string, into map[Key]Sighting) error {
	_, elements, found := strings.Cut(text, "elements = {")
	if !found {
		return nil
	}
	elements, _, _ = strings.Cut(elements, "}")
	const fields = 5
	for element := range strings.SplitSeq(elements, ",") {
		parts := strings.Split(strings.TrimSpace(element), " . ")
		if len(parts) != fields {
			return fmt.Errorf("element %q: expected %d fields", element, fields)
		}
		source, err1 := strconv.ParseUint(parts[1], 10, 16)
		address, err2 := netip.ParseAddr(parts[2])
		port, err3 := strconv.ParseUint(parts[3], 10, 16)
		mark, err4 := strconv.ParseUint(parts[4], 0, 32)
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				return fmt.Errorf("element %q: %w", element, err)
			}
		}
		into[Key{parts[0], uint16(source)}] = Sighting{netip.AddrPortFrom(address, uint16(port)), mark}
	}
	return nil
}
