// Package simulate says what a node does with a packet: the frontends are those
// that the agent computes, and the order of decisions is that of the data plane's
// skeleton. No kernel is involved, unless a Kernel is to follow.
package simulate

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Node is a node without a kernel. It belongs to one goroutine.
type Node struct {
	addresses []netip.Addr
	state     *state.State
	table     *ruleset.Table
	kernel    *Kernel
}

// NewNode returns a node with the given local addresses, loopback left out, which
// holds nothing.
func NewNode(addresses []netip.Addr) *Node {
	return &Node{addresses: addresses, state: state.New(), table: ruleset.NewTable()}
}

// Apply takes a transaction over, as the agent does: it recomputes what changed
// and nothing else.
func (n *Node) Apply(resources iter.Seq[*discoveryv1.Resource], removed []resource.Name) []*discoveryv1.RejectedResource {
	dirty, rejected := n.state.Apply(resources, removed)
	names := dirty.Services
	if n.table.SetEnvironment(reconcile.Environment(n.state.Config(), n.addresses)) {
		names = reconcile.AllServices(n.state, n.table)
	}
	changes := n.table.Update(maps.Keys(names), func(name string) ruleset.View { return reconcile.View(n.state, name) })
	if n.kernel != nil {
		n.kernel.follow(n.settings(), n.table, &changes)
	}
	return rejected
}

func (n *Node) settings() dataplane.Settings {
	return reconcile.Settings(n.state.Config(), n.state.Cluster(), n.addresses)
}

// Ruleset returns what the kernel must do, in an order of its own: a line for each
// frontend, ClusterIP and endpoint on the node. Backends are ordered, because which
// slot of a frontend a backend has depends on how it came there.
func (n *Node) Ruleset() string {
	var lines []string
	for f := range n.table.Frontends() {
		c := *f
		c.Backends, c.Weights = ordered(f.Backends, f.Weights)
		c.LocalBackends, c.LocalWeights = ordered(f.LocalBackends, f.LocalWeights)
		lines = append(lines, fmt.Sprintf("frontend %+v", c))
	}
	for addr := range n.table.ClusterIPs() {
		lines = append(lines, "cluster IP "+addr.String())
	}
	for h := range n.table.Hairpins() {
		lines = append(lines, fmt.Sprintf("hairpin %+v", h))
	}
	slices.Sort(lines)
	return strings.Join(append(lines, fmt.Sprintf("settings %+v", n.settings())), "\n")
}

// ordered returns backends by address instead of by slot, each with its weight.
func ordered(backends ruleset.Backends, weights ruleset.Weights) (ruleset.Backends, ruleset.Weights) {
	var slots []int
	for slot := range backends.All() {
		slots = append(slots, slot)
	}
	slices.SortFunc(slots, func(a, b int) int { return backends.At(a).Compare(backends.At(b)) })
	var list []netip.AddrPort
	var of []uint32
	for _, slot := range slots {
		list, of = append(list, backends.At(slot)), append(of, uint32(weights.At(slot)))
	}
	return ruleset.PackBackends(list...), ruleset.PackWeights(of...)
}

// Packet is the first packet of a new connection.
type Packet struct {
	Source netip.Addr
	// Interface is where it came in; empty for packets of the node's processes.
	Interface   string
	Protocol    uint8 // IANA number
	Destination netip.AddrPort
}

// Verdict is what becomes of a packet.
type Verdict int

const (
	// Untouched packets are no business of the data plane's.
	Untouched Verdict = iota
	// Served packets go to one of the backends.
	Served
	// Rejected packets are refused at once.
	Rejected
	// Dropped packets are met with silence.
	Dropped
)

// Outcome is what the data plane does with a packet.
type Outcome struct {
	Verdict  Verdict
	Backends []netip.AddrPort
	// Masquerade is set if the backend sees an address of the node. Otherwise it
	// sees the source, unless Hairpin is set and the packet comes back to it.
	Masquerade, Hairpin bool
	Sticky              time.Duration
}

// Decide says what the data plane does with a packet.
func (n *Node) Decide(p Packet) Outcome {
	settings := n.settings()
	key := ruleset.Key{Addr: p.Destination.Addr(), Protocol: state.Protocol(p.Protocol), Port: p.Destination.Port()}
	f := n.table.Frontend(key)
	if f == nil {
		return n.unowned(key.Addr, settings)
	}
	if f.Filtered && !slices.ContainsFunc(f.Allow, func(r netip.Prefix) bool { return r.Contains(p.Source) }) {
		return Outcome{Verdict: Dropped}
	}
	out := Outcome{Sticky: f.Affinity, Backends: f.Backends.List()}
	pod, host := fromPod(p, settings), n.isLocal(p.Source)
	switch {
	case f.Kind == resource.ClusterIP:
		out.Masquerade = settings.MasqueradeAll || detects(settings, key.Addr.Is6()) && !pod
	case f.Masquerade:
		out.Masquerade = true
	case pod:
	case host:
		out.Masquerade = true
	default:
		out.Backends = f.LocalBackends.List()
	}
	return n.serve(f, out, p)
}

func (n *Node) serve(f *ruleset.Frontend, out Outcome, p Packet) Outcome {
	if len(out.Backends) > 0 {
		out.Verdict = Served
		out.Hairpin = !out.Masquerade && slices.ContainsFunc(out.Backends, func(b netip.AddrPort) bool {
			return b.Addr() == p.Source && n.table.HasHairpin(ruleset.Hairpin{Protocol: f.Protocol, Endpoint: b})
		})
		return out
	}
	switch f.Unserved {
	case ruleset.Reject:
		return Outcome{Verdict: Rejected}
	case ruleset.Drop:
		return Outcome{Verdict: Dropped}
	default:
		return Outcome{Verdict: Untouched}
	}
}

// unowned is for a destination that is no frontend.
func (n *Node) unowned(addr netip.Addr, settings dataplane.Settings) Outcome {
	for owned := range n.table.ClusterIPs() {
		if owned == addr {
			return Outcome{Verdict: Rejected}
		}
	}
	if slices.ContainsFunc(settings.ServiceCIDRs, func(r netip.Prefix) bool { return r.Contains(addr) }) {
		return Outcome{Verdict: Dropped}
	}
	return Outcome{Verdict: Untouched}
}

func (n *Node) isLocal(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(n.addresses, addr)
}

// detects tells whether the node can tell pods of a family from others.
func detects(settings dataplane.Settings, is6 bool) bool {
	switch settings.Detect {
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR:
		return slices.ContainsFunc(settings.DetectCIDRs, func(r netip.Prefix) bool { return r.Addr().Is6() == is6 })
	default:
		return settings.Detect != discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_UNSPECIFIED
	}
}

func fromPod(p Packet, settings dataplane.Settings) bool {
	switch settings.Detect {
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR:
		return slices.ContainsFunc(settings.DetectCIDRs, func(r netip.Prefix) bool { return r.Contains(p.Source) })
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE:
		return p.Interface == settings.DetectInterface
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX:
		return p.Interface != "" && strings.HasPrefix(p.Interface, settings.DetectInterface)
	default:
		return false
	}
}
