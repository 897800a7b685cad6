package reference

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// endpoint is an endpoint of a port of a Service.
type endpoint struct {
	address  netip.AddrPort
	nodeName string
	podName  string

	ready, serving, terminating bool
	zones, nodes                []string
}

// fallback tells whether an endpoint may be used when none is ready (S74).
func (e endpoint) fallback() bool { return e.serving && e.terminating }

// endpoints collects the endpoints of a frontend's port from all slices, in the order
// of their addresses, each once.
func (w world) endpoints(f frontend) []endpoint {
	byAddress := map[netip.AddrPort]endpoint{}
	for i := range w.cluster.Slices {
		slice := &w.cluster.Slices[i]
		if !belongs(slice, f) {
			continue
		}
		for _, number := range portNumbers(slice, f.port) {
			for j := range slice.Endpoints {
				e, ok := read(&slice.Endpoints[j], number, f.family)
				if !ok || !w.mayBeServed(e.address.Addr()) {
					continue
				}
				if twin, twice := byAddress[e.address]; !twice || w.decides(e, twin) {
					byAddress[e.address] = e
				}
			}
		}
	}
	all := make([]endpoint, 0, len(byAddress))
	weights := f.service.Annotations[weightsAnnotation]
	for _, e := range byAddress {
		if drained(e, weights) {
			e.ready, e.terminating = false, false
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b endpoint) int { return a.address.Compare(b.address) })
	return all
}

// belongs tells whether a slice has endpoints for a Service and family (S83, S84, S94).
func belongs(slice *discoveryv1.EndpointSlice, f frontend) bool {
	_, headless := slice.Labels[corev1.IsHeadlessService]
	return !headless && slice.Namespace == f.service.Namespace &&
		slice.Labels[discoveryv1.LabelServiceName] == f.service.Name &&
		string(slice.AddressType) == string(f.family)
}

// portNumbers are the numbers that a slice gives for a port (S85, S86).
func portNumbers(slice *discoveryv1.EndpointSlice, wanted corev1.ServicePort) []uint16 {
	var numbers []uint16
	for _, p := range slice.Ports {
		if p.Name == nil || p.Port == nil || *p.Port == 0 {
			continue
		}
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		if *p.Name == wanted.Name && protocol == protocolOf(wanted.Protocol) {
			numbers = append(numbers, uint16(*p.Port))
		}
	}
	return numbers
}

// read reads an endpoint of a slice; it may have none to use (S76, S77, S87).
func read(object *discoveryv1.Endpoint, port uint16, family corev1.IPFamily) (endpoint, bool) {
	if len(object.Addresses) == 0 {
		return endpoint{}, false
	}
	address, ok := parseAddress(object.Addresses[0])
	if !ok || familyOf(address) != family {
		return endpoint{}, false
	}
	e := endpoint{
		address:     netip.AddrPortFrom(address, port),
		ready:       orDefault(object.Conditions.Ready, true),
		serving:     orDefault(object.Conditions.Serving, true),
		terminating: orDefault(object.Conditions.Terminating, false),
		nodeName:    orDefault(object.NodeName, ""),
	}
	if object.TargetRef != nil && object.TargetRef.Kind == "Pod" {
		e.podName = object.TargetRef.Name
	}
	if object.Hints != nil {
		for _, hint := range object.Hints.ForZones {
			e.zones = append(e.zones, hint.Name)
		}
		for _, hint := range object.Hints.ForNodes {
			e.nodes = append(e.nodes, hint.Name)
		}
	}
	return e, true
}

func orDefault[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}

// decides tells whether e rather than its twin says what an ip:port is like (S88).
// Among equals it is the one that can be used, so that the order does not matter.
func (w world) decides(e, twin endpoint) bool {
	switch {
	case e.terminating != twin.terminating:
		return !e.terminating
	case e.ready != twin.ready:
		return e.ready
	case e.serving != twin.serving:
		return e.serving
	default:
		return w.isHere(e) && !w.isHere(twin)
	}
}

// isHere tells whether an endpoint is on the node (S77).
func (w world) isHere(e endpoint) bool { return e.nodeName != "" && e.nodeName == w.node.Name }

// usableAnywhere tells whether some node may use some endpoint (S64).
func usableAnywhere(all []endpoint) bool {
	return slices.ContainsFunc(all, func(e endpoint) bool { return e.ready || e.fallback() })
}

// clusterList is what a node uses when the policy is Cluster (S72).
func (w world) clusterList(all []endpoint) []endpoint {
	if ready := filter(all, func(e endpoint) bool { return e.ready }); len(ready) > 0 {
		return w.narrow(ready)
	}
	return filter(all, endpoint.fallback)
}

// localList is what a node uses when the policy is Local (S73, S80).
func (w world) localList(all []endpoint) []endpoint {
	here := filter(all, w.isHere)
	if ready := filter(here, func(e endpoint) bool { return e.ready }); len(ready) > 0 {
		return ready
	}
	return filter(here, endpoint.fallback)
}

// narrow keeps the endpoints that are hinted for this node, or else for its zone, if
// all ready endpoints have such hints and some are for it (S78, S79, S82).
func (w world) narrow(ready []endpoint) []endpoint {
	hints := []struct {
		of   func(endpoint) []string
		mine string
	}{
		{func(e endpoint) []string { return e.nodes }, w.node.Name},
		{func(e endpoint) []string { return e.zones }, w.zone()},
	}
	for _, hint := range hints {
		if hint.mine == "" || slices.ContainsFunc(ready, func(e endpoint) bool { return len(hint.of(e)) == 0 }) {
			continue
		}
		if nearby := filter(ready, func(e endpoint) bool { return slices.Contains(hint.of(e), hint.mine) }); len(nearby) > 0 {
			return nearby
		}
	}
	return ready
}

func filter(all []endpoint, keep func(endpoint) bool) []endpoint {
	var kept []endpoint
	for _, e := range all {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	return kept
}
