package ruleset

import (
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/resource"
)

// View is what the control plane told the node of one Service.
type View struct {
	// Service is nil if there is no such Service (any more).
	Service *state.Service
	Sets    []*state.EndpointSet
	Local   *state.LocalEndpoints
}

// rules are what one Service asks of the kernel.
type rules struct {
	frontends  []*Frontend
	clusterIPs []netip.Addr
	// outsideIPs are load-balancer and external IPs.
	outsideIPs []netip.Addr
	hairpins   []Hairpin
	checkPorts []uint16
	// lists remembers the slot order of every list of backends.
	lists   []slotList
	noLocal byFamily
}

// listKey identifies a list of backends of a Service.
type listKey struct {
	name     string
	protocol state.Protocol
	is6      bool
	local    bool
}

// build computes a Service's rules. Slots are arranged after the old rules, which
// may be nil.
func build(view View, env Environment, old *rules) *rules {
	next := &rules{}
	if view.Service == nil {
		return next
	}
	next.clusterIPs = view.Service.ClusterIPs
	next.outsideIPs = outsideIPs(view.Service)
	if port := view.Service.HealthCheckNodePort; port != 0 {
		next.checkPorts = []uint16{port}
	}
	weighted := view.weighted()
	for _, clusterIP := range next.clusterIPs {
		for _, port := range view.Service.Ports {
			next.addPort(view, env, old, clusterIP, port, weighted)
		}
	}
	next.frontends = onePerKey(next.frontends)
	return next
}

// outsideIPs returns the load-balancer and external IPs of a Service's families, each once.
func outsideIPs(service *state.Service) []netip.Addr {
	if len(service.LoadBalancerIPs)+len(service.ExternalIPs) == 0 {
		return nil
	}
	list := slices.Concat(service.LoadBalancerIPs, service.ExternalIPs)
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.DeleteFunc(slices.Compact(list), func(addr netip.Addr) bool {
		return !slices.ContainsFunc(service.ClusterIPs, func(ip netip.Addr) bool { return ip.Is6() == addr.Is6() })
	})
}

func (r *rules) addPort(view View, env Environment, old *rules, clusterIP netip.Addr, port state.Port, weighted bool) {
	is6 := clusterIP.Is6()
	var enough [32]netip.AddrPort // For most Services; then no memory is allocated.
	cluster := r.list(old, listKey{port.Name, port.Protocol, is6, false}, clusterEndpoints(enough[:0], view, port, is6))
	local := r.list(old, listKey{port.Name, port.Protocol, is6, true}, localEndpoints(enough[:0], view, port, is6))
	r.noLocal.of(is6).count(view, cluster.Len(), local.Len())
	for _, endpoint := range local.All() {
		r.hairpins = append(r.hairpins, Hairpin{port.Protocol, endpoint})
	}
	use := lists{cluster: cluster, local: local}
	if weighted {
		use.clusterWeights, use.localWeights = weigh(view, port, cluster), weigh(view, port, local)
	}
	r.frontends = append(r.frontends, internalFrontend(view.Service, port, clusterIP, use))
	outside := func(kind resource.FrontendKind, addr netip.Addr, number uint16) {
		if addr.Is6() == is6 && number != 0 {
			r.frontends = append(r.frontends, outsideFrontend(view.Service, port, kind, Key{addr, port.Protocol, number}, use, env))
		}
	}
	for _, addr := range view.Service.LoadBalancerIPs {
		outside(resource.LoadBalancerIP, addr, port.Port)
	}
	for _, addr := range view.Service.ExternalIPs {
		outside(resource.ExternalIP, addr, port.Port)
	}
	for _, addr := range env.NodePortAddrs {
		outside(resource.NodePort, addr, port.NodePort)
	}
}

func (r *rules) list(old *rules, key listKey, want []netip.AddrPort) Backends {
	before := old.slots(key)
	arranged := PackBackends(arrange(before.List(), want)...)
	if arranged == before {
		arranged = before // Of two strings that are equal, only one stays in memory.
	}
	if arranged.Len() > 0 {
		r.lists = append(r.lists, slotList{key, arranged})
	}
	return arranged
}

// lists are the backends of a Service port in one family: those that Cluster traffic uses,
// and those on this node.
type lists struct {
	cluster, local               Backends
	clusterWeights, localWeights Weights
}

func newFrontend(service *state.Service, port state.Port, kind resource.FrontendKind, key Key) *Frontend {
	return &Frontend{Key: key, Kind: kind, Service: service.Name, PortName: port.Name, Created: service.Created,
		Affinity: service.Affinity, Scheduler: service.Scheduler}
}

func internalFrontend(service *state.Service, port state.Port, clusterIP netip.Addr, use lists) *Frontend {
	f := newFrontend(service, port, resource.ClusterIP, Key{clusterIP, port.Protocol, port.Port})
	f.Backends, f.Weights = use.cluster, use.clusterWeights
	if service.InternalLocal {
		f.Backends, f.Weights = use.local, use.localWeights
	}
	switch {
	case use.cluster.Len() == 0:
		f.Backends, f.Weights, f.Unserved = Backends{}, Weights{}, Reject
	case f.Backends.Len() == 0:
		f.Unserved = Drop
	}
	return f
}

func outsideFrontend(service *state.Service, port state.Port, kind resource.FrontendKind, key Key, use lists, env Environment) *Frontend {
	f := newFrontend(service, port, kind, key)
	f.Backends, f.Weights, f.Local, f.Masquerade = use.cluster, use.clusterWeights, service.ExternalLocal, !service.ExternalLocal
	if f.Local {
		f.LocalBackends, f.LocalWeights = use.local, use.localWeights
	}
	switch {
	case use.cluster.Len() == 0:
		f.LocalBackends, f.LocalWeights, f.Unserved = Backends{}, Weights{}, Reject
	case f.Local && use.local.Len() == 0:
		f.Unserved = Drop
	}
	if kind == resource.LoadBalancerIP {
		f.Allow = allowed(service.SourceRanges, key.Addr, env)
		f.Filtered = len(f.Allow) > 0
	}
	return f
}

// allowed returns the source ranges of an address's family, or nil for no filter.
// If they let the node itself in, they let in the address too: a node that holds a
// load-balancer address may use it as source when it talks to it.
func allowed(ranges []netip.Prefix, addr netip.Addr, env Environment) []netip.Prefix {
	var list []netip.Prefix
	node := false
	for _, prefix := range ranges {
		if prefix.Addr().Is6() != addr.Is6() {
			continue
		}
		list = append(list, prefix)
		node = node || slices.ContainsFunc(env.NodeIPs, prefix.Contains)
	}
	if node {
		list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return disjoint(list)
}

// disjoint returns the prefixes, ordered, without those that lie in another.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var list []netip.Prefix
	for _, prefix := range sorted {
		if len(list) == 0 || !list[len(list)-1].Overlaps(prefix) {
			list = append(list, prefix)
		}
	}
	return list
}

// clusterEndpoints appends the endpoints for Cluster traffic to an empty list.
func clusterEndpoints(list []netip.AddrPort, view View, port state.Port, is6 bool) []netip.AddrPort {
	if view.Local != nil {
		if preferred := matching(list, view.Local.Preferred, port, is6, chosen); len(preferred) > 0 {
			return preferred
		}
	}
	for _, set := range view.Sets {
		list = matching(list, set.Groups, port, is6, chosen)
	}
	return list
}

// localEndpoints appends those on this node.
func localEndpoints(list []netip.AddrPort, view View, port state.Port, is6 bool) []netip.AddrPort {
	if view.Local == nil {
		return list
	}
	return matching(list, view.Local.Local, port, is6, chosen)
}

// chosen are the endpoints that new connections may use; serving are those and
// the ones that only keep the connections that they have.
func chosen(e state.Endpoint) bool { return !e.Draining }
func serving(state.Endpoint) bool  { return true }

// matching appends the endpoints of a family that serve a Service port: those of
// the groups with a port of its name and protocol.
func matching(list []netip.AddrPort, groups []state.Group, port state.Port, is6 bool, wanted func(state.Endpoint) bool) []netip.AddrPort {
	for _, group := range groups {
		for _, p := range group.Ports {
			if p.Name != port.Name || p.Protocol != port.Protocol {
				continue
			}
			list = slices.Grow(list, group.Endpoints.Len())
			for endpoint := range group.Endpoints.All() {
				if endpoint.Addr.Is6() == is6 && wanted(endpoint) {
					list = append(list, netip.AddrPortFrom(endpoint.Addr, p.Port))
				}
			}
		}
	}
	return list
}

// onePerKey keeps, of a Service's own claims to one key, the first in precedence.
func onePerKey(frontends []*Frontend) []*Frontend {
	if len(frontends) < 2 {
		return frontends
	}
	best := make(map[Key]*Frontend, len(frontends))
	for _, f := range frontends {
		if other, ok := best[f.Key]; !ok || f.claim().Compare(other.claim()) < 0 {
			best[f.Key] = f
		}
	}
	return slices.DeleteFunc(frontends, func(f *Frontend) bool { return best[f.Key] != f })
}
