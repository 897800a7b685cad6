// Package reference says what must happen to the first packet of a new connection:
// one pure function from Kubernetes objects, a node and a packet to an outcome.
//
// It is the oracle that tests compare the product with. It is written from the rules
// of docs/reference/semantics.md (S1 … S113, named in the comments) and shares no code
// with what computes the rules of a node, so that an error has to be made twice to go
// unseen. It looks at everything for each packet: clarity counts here, speed does not.
package reference

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Cluster is what the API server holds.
type Cluster struct {
	Services     []corev1.Service
	Slices       []discoveryv1.EndpointSlice
	Nodes        []corev1.Node
	ServiceCIDRs []networkingv1.ServiceCIDR
}

// Node is the node that the packet comes to or starts from.
type Node struct {
	Name string
	// LocalAddresses are all addresses of all its devices, loopback included.
	LocalAddresses []netip.Addr
}

// LocalDetector is how a node recognises its own pods as sources.
type LocalDetector string

// The ways to recognise a pod.
const (
	DetectNothing         LocalDetector = ""
	DetectClusterCIDR     LocalDetector = "ClusterCIDR"
	DetectNodeCIDR        LocalDetector = "NodeCIDR"
	DetectBridgeInterface LocalDetector = "BridgeInterface"
	DetectInterfacePrefix LocalDetector = "InterfaceNamePrefix"
)

// Config is the part of a KubeProxyConfiguration that decides about packets.
type Config struct {
	// NodePortAddresses are CIDRs, or "primary" alone; empty means "primary".
	NodePortAddresses []string
	DetectLocal       LocalDetector
	// ClusterCIDRs are for DetectClusterCIDR, at most one a family.
	ClusterCIDRs []netip.Prefix
	// Interface is the name of the bridge, or the prefix of the names.
	Interface     string
	MasqueradeAll bool
	// IgnoreExternalIPs is the feature gate AllowServiceExternalIPs switched off.
	IgnoreExternalIPs bool
}

// Origin is where a packet comes from.
type Origin string

// The origins of packets.
const (
	FromPod     Origin = "pod"     // a pod of this node
	FromHost    Origin = "host"    // a process in the node's own network namespace
	FromOutside Origin = "outside" // another machine: a client, another node, its pods
)

// Packet is the first packet of a new connection.
type Packet struct {
	Source netip.Addr
	From   Origin
	// Interface is the device that it comes in by; processes of the host have none.
	Interface   string
	Protocol    corev1.Protocol
	Destination netip.AddrPort
}

// Verdict is what becomes of a packet.
type Verdict string

// The verdicts.
const (
	Accept Verdict = "accept"
	Reject Verdict = "reject" // TCP reset or ICMP port unreachable, at once
	Drop   Verdict = "drop"   // silence
)

// Masquerade tells whose address an endpoint sees.
type Masquerade string

// The ways of masquerade.
const (
	SourceKept  Masquerade = "no"
	Masqueraded Masquerade = "yes"
	// HairpinOnly keeps the source unless the packet comes back to where it started.
	HairpinOnly Masquerade = "hairpin-only"
)

// Outcome is what must happen.
type Outcome struct {
	// Handled is false for packets that must be left as they are.
	Handled bool
	Verdict Verdict
	// Backends are those that an accepted packet may be sent to, sorted; each has the
	// same chance.
	Backends   []netip.AddrPort
	Masquerade Masquerade
	// Sticky is how long a client stays with its backend; 0: every connection is
	// drawn afresh.
	Sticky time.Duration
}

var (
	untouched = Outcome{Verdict: Accept, Masquerade: SourceKept}
	rejected  = Outcome{Handled: true, Verdict: Reject, Masquerade: SourceKept}
	dropped   = Outcome{Handled: true, Verdict: Drop, Masquerade: SourceKept}
)

// Decide says what must happen to a packet.
func Decide(cluster Cluster, config Config, node Node, packet Packet) Outcome {
	w := world{cluster: cluster, config: config, node: node}
	family := familyOf(packet.Destination.Addr())
	entry, found := w.lookUp(family, packet)
	if !found {
		return w.nobodys(family, packet)
	}
	if entry.kind == loadBalancerIP && !w.allowed(entry, packet.Source) {
		return dropped // S30, S34: before anything else, endpoints or not
	}
	return w.serve(entry, packet)
}

// world is the input of Decide but for the packet.
type world struct {
	cluster Cluster
	config  Config
	node    Node
}

// nobodys decides about packets that no port of a Service is declared for.
func (w world) nobodys(family corev1.IPFamily, packet Packet) Outcome {
	destination := packet.Destination.Addr()
	if w.isLocal(destination) {
		return untouched // S7 is about what leaves the node or passes through it.
	}
	for _, service := range w.proxied() {
		if address, ok := clusterIP(service, family); ok && address == destination {
			return rejected // S5, S6, S8
		}
	}
	if w.forClusterIPs(destination) {
		return dropped // S7, S9
	}
	return untouched // S17, S20, S27, S96
}

// serve decides about a packet to a declared port of a Service.
func (w world) serve(entry frontend, packet Packet) Outcome {
	endpoints := w.endpoints(entry)
	if !usableAnywhere(endpoints) {
		return rejected // S54, S60, S64
	}
	onlyLocal, masquerade := w.policy(entry, packet)
	var backends []endpoint
	if onlyLocal {
		backends = w.localList(endpoints)
	} else {
		backends = w.clusterList(endpoints)
	}
	if len(backends) == 0 {
		return dropped // S53, S59
	}
	if !masquerade {
		// S2, S104: an endpoint here may be sent to itself.
		if slices.ContainsFunc(backends, func(e endpoint) bool {
			return w.isHere(e) && e.address.Addr() == packet.Source
		}) {
			return accepted(entry, backends, HairpinOnly)
		}
		return accepted(entry, backends, SourceKept)
	}
	return accepted(entry, backends, Masqueraded)
}

func accepted(entry frontend, backends []endpoint, masquerade Masquerade) Outcome {
	o := Outcome{Handled: true, Verdict: Accept, Masquerade: masquerade, Sticky: affinity(entry.service)}
	for _, b := range backends {
		o.Backends = append(o.Backends, b.address)
	}
	slices.SortFunc(o.Backends, netip.AddrPort.Compare)
	return o
}

// policy tells whether only endpoints on this node may be used, and whether they see
// an address of the node instead of the source.
func (w world) policy(entry frontend, packet Packet) (onlyLocal, masquerade bool) {
	detects, isPod := w.detect(packet)
	if entry.kind == clusterIPAddress {
		internal := entry.service.Spec.InternalTrafficPolicy
		onlyLocal = internal != nil && *internal == corev1.ServiceInternalTrafficPolicyLocal // S58
		return onlyLocal, w.config.MasqueradeAll || (detects && !isPod)                      // S10, S11, S97, S101
	}
	if entry.service.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return false, true // S49
	}
	switch {
	case isPod:
		return false, false // S51
	case packet.From == FromHost:
		return false, true // S52
	default:
		return true, false // S50, S56
	}
}

// detect tells whether the node can recognise pods in the packet's family, and
// whether the packet is from one.
func (w world) detect(packet Packet) (detects, isPod bool) {
	switch w.config.DetectLocal {
	case DetectClusterCIDR:
		return inOneOf(w.config.ClusterCIDRs, packet.Source) // S98
	case DetectNodeCIDR:
		return inOneOf(w.podCIDRs(), packet.Source) // S99
	case DetectBridgeInterface:
		return true, packet.Interface != "" && packet.Interface == w.config.Interface // S100
	case DetectInterfacePrefix:
		return true, packet.Interface != "" && strings.HasPrefix(packet.Interface, w.config.Interface) // S100
	default:
		return false, false
	}
}

// inOneOf tells whether there are prefixes of the address's family (S110), and
// whether it is in one.
func inOneOf(prefixes []netip.Prefix, address netip.Addr) (some, contained bool) {
	for _, prefix := range prefixes {
		if familyOf(prefix.Addr()) != familyOf(address) {
			continue
		}
		some = true
		contained = contained || prefix.Contains(address)
	}
	return some, contained
}

// affinity is how long a client stays with its endpoint (S42).
func affinity(service *corev1.Service) time.Duration {
	if service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	seconds := corev1.DefaultClientIPServiceAffinitySeconds
	if c := service.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		seconds = *c.ClientIP.TimeoutSeconds
	}
	return time.Duration(seconds) * time.Second
}
