package reference

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// primary is the value of NodePortAddresses that stands for the Node's own address.
const primary = "primary"

// acceptsNodePorts tells whether node ports are served on an address (S14 to S18, S20).
func (w world) acceptsNodePorts(address netip.Addr) bool {
	if address.IsLoopback() || !w.isLocal(address) {
		return false
	}
	if len(w.config.NodePortAddresses) == 0 || slices.Equal(w.config.NodePortAddresses, []string{primary}) {
		own, ok := w.primaryAddress(familyOf(address))
		return ok && own == address
	}
	var prefixes []netip.Prefix
	for _, text := range w.config.NodePortAddresses {
		if prefix, ok := parsePrefix(text); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	some, contained := inOneOf(prefixes, address)
	return contained || !some // S16
}

func (w world) isLocal(address netip.Addr) bool {
	return address.IsLoopback() || slices.Contains(w.node.LocalAddresses, address)
}

// object is the Node object of the node.
func (w world) object() *corev1.Node {
	for i := range w.cluster.Nodes {
		if w.cluster.Nodes[i].Name == w.node.Name {
			return &w.cluster.Nodes[i]
		}
	}
	return &corev1.Node{}
}

// primaryAddress is the Node's first InternalIP of a family, or else its first
// ExternalIP.
func (w world) primaryAddress(family corev1.IPFamily) (netip.Addr, bool) {
	for _, wanted := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range w.object().Status.Addresses {
			if address, ok := parseAddress(a.Address); ok && a.Type == wanted && familyOf(address) == family {
				return address, true
			}
		}
	}
	return netip.Addr{}, false
}

func (w world) podCIDRs() []netip.Prefix {
	spec := w.object().Spec
	texts := spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{spec.PodCIDR}
	}
	var prefixes []netip.Prefix
	for _, text := range texts {
		if prefix, ok := parsePrefix(text); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// zone is the zone that the node's label names; it may be empty (S79).
func (w world) zone() string { return w.object().Labels[corev1.LabelTopologyZone] }

// parseAddress reads an address as the API once allowed it: the numbers of IPv4
// addresses are decimal even with leading zeros (S40, S87).
func parseAddress(text string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap(), true
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return netip.Addr{}, false
	}
	var octets [4]byte
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return netip.Addr{}, false
		}
		octets[i] = byte(n)
	}
	return netip.AddrFrom4(octets), true
}

// parsePrefix reads a CIDR in the same way.
func parsePrefix(text string) (netip.Prefix, bool) {
	network, length, found := strings.Cut(strings.TrimSpace(text), "/")
	address, ok := parseAddress(network)
	bits, err := strconv.Atoi(length)
	if !found || !ok || err != nil || bits < 0 || bits > address.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address, bits).Masked(), true
}

func familyOf(address netip.Addr) corev1.IPFamily {
	if address.Unmap().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// protocolOf fills in the API's default.
func protocolOf(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// harmful are ranges that no Service may send to or be reached by, beside those that
// the methods of netip.Addr know: cloud metadata, what means nobody or everybody, and
// IPv4 addresses of that kind in an IPv6 form.
var harmful = []netip.Prefix{
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4"),
}

// mayBeServed tells whether an address may be an endpoint or one from outside: not if
// it is harmful, and not if it is the ClusterIP of a Service.
func (w world) mayBeServed(address netip.Addr) bool {
	if isHarmful(address) {
		return false
	}
	for _, service := range w.proxied() {
		if slices.Contains(clusterIPs(service), address) {
			return false
		}
	}
	return true
}

func isHarmful(address netip.Addr) bool {
	if !address.IsGlobalUnicast() || slices.ContainsFunc(harmful, func(p netip.Prefix) bool { return p.Contains(address) }) {
		return true
	}
	if address.Is4() {
		return false
	}
	// NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible (RFC 4291).
	bytes := address.As16()
	for prefix, at := range map[string]int{"64:ff9b::/96": 12, "2002::/16": 2, "::/96": 12} {
		if netip.MustParsePrefix(prefix).Contains(address) && isHarmful(netip.AddrFrom4([4]byte(bytes[at:at+4]))) {
			return true
		}
	}
	return false
}
