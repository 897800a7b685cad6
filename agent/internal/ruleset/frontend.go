package ruleset

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/resource"
)

// Key is what a frontend matches: a destination.
type Key struct {
	Addr     netip.Addr
	Protocol state.Protocol
	Port     uint16
}

// String returns "TCP 10.96.0.10:53".
func (k Key) String() string {
	return k.Protocol.String() + " " + netip.AddrPortFrom(k.Addr, k.Port).String()
}

// Unserved is what happens to a new connection for which no backend was picked.
type Unserved uint8

const (
	// Served means that every source has backends.
	Served Unserved = iota
	// Reject refuses the connection at once: there is no usable endpoint anywhere.
	Reject
	// Drop is silence: there are usable endpoints, but the policy forbids them.
	Drop
)

// Frontend is one destination that the node serves.
type Frontend struct {
	Key
	// Service is "namespace/name"; Port is the name of the Service port.
	Service  string
	PortName string
	Created  int64
	// Backends are what the frontend's connections may use. If Local is set they are
	// for connections from this node's pods and processes alone, and others use
	// LocalBackends.
	Backends      Backends
	LocalBackends Backends
	// Weights and LocalWeights are those of the backends.
	Weights, LocalWeights Weights
	// Scheduler is the name of what chooses among the backends; empty is the node's
	// default.
	Scheduler string
	// Elsewhere is set if somebody else, which is IPVS, chooses among the backends. Then
	// there are none here.
	Elsewhere bool
	// Affinity is how long a client keeps its backend; zero means not at all.
	Affinity time.Duration
	// Allow are the only sources that may connect if Filtered is set.
	Allow    []netip.Prefix
	Kind     resource.FrontendKind
	Local    bool
	Filtered bool
	Unserved Unserved
	// Masquerade is set if every connection is masqueraded, wherever it is from.
	Masquerade bool
}

func (f *Frontend) claim() resource.Claim {
	return resource.Claim{Kind: f.Kind, Created: f.Created, Service: f.Service}
}

// Same tells whether two frontends, either of which may be nil, ask the same of
// the kernel.
func (f *Frontend) Same(o *Frontend) bool {
	if f == nil || o == nil {
		return f == o
	}
	return f.Key == o.Key && f.Kind == o.Kind && f.Local == o.Local && f.Unserved == o.Unserved &&
		f.Masquerade == o.Masquerade && f.Affinity == o.Affinity && f.Filtered == o.Filtered &&
		slices.Equal(f.Allow, o.Allow) && f.Backends == o.Backends && f.LocalBackends == o.LocalBackends &&
		f.Weights == o.Weights && f.LocalWeights == o.LocalWeights && f.Scheduler == o.Scheduler && f.Elsewhere == o.Elsewhere
}

// String describes the frontend in a line.
func (f *Frontend) String() string {
	return f.Key.String() + " " + f.Kind.String() + " of " + f.Service + " with " + strconv.Itoa(f.Backends.Len()) + " backends"
}

// Hairpin is an endpoint on this node: a connection from its address to itself
// must be masqueraded.
type Hairpin struct {
	Protocol state.Protocol
	Endpoint netip.AddrPort
}

// Environment is what the node itself adds to what the control plane said.
type Environment struct {
	// NodePortAddrs are the local addresses on which node ports answer.
	NodePortAddrs []netip.Addr
	// NodeIPs are the Node's primary addresses.
	NodeIPs []netip.Addr
	// HealthCheckAddrs are the addresses on which health checks answer: those of
	// node ports, with an unspecified address where that is all of a family.
	HealthCheckAddrs []netip.Addr
	// LocalhostNodePorts is set if node ports answer on loopback addresses too.
	LocalhostNodePorts bool
}

func (e Environment) equal(o Environment) bool {
	return slices.Equal(e.NodePortAddrs, o.NodePortAddrs) && slices.Equal(e.NodeIPs, o.NodeIPs) &&
		slices.Equal(e.HealthCheckAddrs, o.HealthCheckAddrs) && e.LocalhostNodePorts == o.LocalhostNodePorts
}
