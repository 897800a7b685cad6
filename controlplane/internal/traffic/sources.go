package traffic

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/reference"
)

// source is who makes a connection, and a packet of theirs.
type source struct {
	text   string
	packet reference.Packet
}

// kinds are the kinds of sources, in the order in which they are shown.
var kinds = []struct {
	from reference.Origin
	text string
}{
	{reference.FromPod, "a pod of this node"},
	{reference.FromHost, "a process of this node"},
	{reference.FromOutside, "elsewhere"},
}

// somewhere are addresses of nobody in particular (RFC 5737, 3849 and 2544).
var somewhere = []netip.Addr{
	netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("198.18.7.7"),
	netip.MustParseAddr("2001:db8:ffff::77"), netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("3fff::77"),
}

// sources returns who is asked about, or one source of each kind; where a filter lets some in, one that is
// in it and one that is not.
func (w world) sources(f frontend) []source {
	filter := w.filter(f)
	var list []source
	if w.From != nil {
		for _, addr := range w.From.Addrs {
			if addr.Is6() == f.at.Addr().Is6() {
				list = append(list, w.source(w.From.From, w.From.Text, addr))
			}
		}
		return list
	}
	for _, kind := range kinds {
		for _, addr := range w.addresses(kind.from, f.at.Addr().Is6(), filter) {
			s := w.source(kind.from, kind.text, addr)
			if len(filter) > 0 {
				s.text += ", " + within(addr, filter)
			}
			list = append(list, s)
		}
	}
	return list
}

func (w world) source(from reference.Origin, text string, addr netip.Addr) source {
	s := source{text: text, packet: reference.Packet{From: from, Source: addr}}
	if from == reference.FromPod {
		s.packet.Interface = w.config.Interface
	}
	return s
}

// filter returns the source ranges that a frontend has in its family.
func (w world) filter(f frontend) []netip.Prefix {
	if !f.balancer {
		return nil
	}
	var list []netip.Prefix
	for _, prefix := range w.Service.SourceRanges {
		if prefix.Addr().Is6() == f.at.Addr().Is6() {
			list = append(list, prefix)
		}
	}
	return list
}

// within says in words on which side of a filter an address is.
func within(addr netip.Addr, filter []netip.Prefix) string {
	words := make([]string, len(filter))
	for i, prefix := range filter {
		words[i] = prefix.String()
	}
	if contained(addr, filter) {
		return "in " + strings.Join(words, " or ")
	}
	return "not in " + strings.Join(words, " or ")
}

func contained(addr netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// addresses are those of an origin that stand for it.
func (w world) addresses(from reference.Origin, is6 bool, filter []netip.Prefix) []netip.Addr {
	switch from {
	case reference.FromPod:
		return []netip.Addr{w.pod(is6)}
	case reference.FromHost:
		if own, ok := w.own(is6); ok {
			return []netip.Addr{own}
		}
		return []netip.Addr{loopback(is6)}
	default:
		var list []netip.Addr
		for _, prefix := range filter {
			// The reference model takes a source in the pods' ranges for a pod.
			if addr := prefix.Addr(); !contained(addr, w.pods()) {
				list = append(list, addr)
				break
			}
		}
		if other, ok := w.other(is6, filter); ok {
			list = append(list, other)
		}
		return list
	}
}

// pod is an address that a pod of this node could have.
func (w world) pod(is6 bool) netip.Addr {
	for _, prefix := range w.pods() {
		if prefix.Addr().Is6() != is6 {
			continue
		}
		if addr := prefix.Addr().Next().Next(); prefix.Contains(addr) {
			return addr
		}
		return prefix.Addr()
	}
	addr, _ := w.other(is6, nil)
	return addr
}

// pods are the ranges that pods have addresses of, this node's first.
func (w world) pods() []netip.Prefix { return slices.Concat(w.Node.PodCIDRs, w.config.ClusterCIDRs) }

// other is an address outside of the cluster and of a filter.
func (w world) other(is6 bool, filter []netip.Prefix) (netip.Addr, bool) {
	taken := slices.Concat(filter, w.pods())
	for _, addr := range somewhere {
		if addr.Is6() == is6 && !contained(addr, taken) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func loopback(is6 bool) netip.Addr {
	if is6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Config returns the nodes' settings in the reference model's terms.
func Config(s compile.Settings) reference.Config {
	c := reference.Config{
		NodePortAddresses: s.NodePortAddresses, ClusterCIDRs: s.ClusterCIDRs, Interface: s.Interface,
		MasqueradeAll: s.MasqueradeAll, IgnoreExternalIPs: s.IgnoreExternalIPs,
	}
	switch s.DetectLocal {
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR:
		c.DetectLocal = reference.DetectClusterCIDR
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR:
		c.DetectLocal = reference.DetectNodeCIDR
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE:
		c.DetectLocal = reference.DetectBridgeInterface
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX:
		c.DetectLocal = reference.DetectInterfacePrefix
	default:
		c.DetectLocal = reference.DetectNothing
	}
	return c
}

func protocol(p model.Protocol) corev1.Protocol { return corev1.Protocol(p.String()) }
