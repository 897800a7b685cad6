package reference

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// kind is what sort of address a client has used, in the order in which claims to the
// same address and port count.
type kind int

const (
	clusterIPAddress kind = iota
	loadBalancerIP
	externalIPAddress
	nodePort
)

// frontend is a port of a Service as it is reached by one address.
type frontend struct {
	service *corev1.Service
	port    corev1.ServicePort
	family  corev1.IPFamily
	kind    kind
	// address is that of the Service; node ports have none.
	address netip.Addr
}

// lookUp finds what a packet is addressed to. A full address goes before a node port
// (S21); of several Services the oldest has it.
func (w world) lookUp(family corev1.IPFamily, packet Packet) (frontend, bool) {
	all := w.frontends(family)
	slices.SortStableFunc(all, func(a, b frontend) int { return cmp.Compare(a.kind, b.kind) })
	for _, f := range all {
		switch {
		case protocolOf(f.port.Protocol) != protocolOf(packet.Protocol): // S4, S19
		case f.kind == nodePort:
			if f.port.NodePort == int32(packet.Destination.Port()) && w.acceptsNodePorts(packet.Destination.Addr()) {
				return f, true
			}
		case f.address == packet.Destination.Addr() && f.port.Port == int32(packet.Destination.Port()):
			return f, true
		}
	}
	return frontend{}, false
}

// frontends lists all frontends of a family, those of older Services first.
func (w world) frontends(family corev1.IPFamily) []frontend {
	var all []frontend
	for _, service := range w.proxied() {
		address, ok := clusterIP(service, family)
		if !ok {
			continue // S107, S109: not a Service of this family
		}
		for _, port := range service.Spec.Ports {
			f := frontend{service: service, port: port, family: family}
			f.kind, f.address = clusterIPAddress, address
			all = append(all, f)
			f.kind = externalIPAddress
			for _, f.address = range w.externalIPs(service, family) {
				all = append(all, f)
			}
			f.kind = loadBalancerIP
			for _, f.address = range w.loadBalancerIPs(service, family) {
				all = append(all, f)
			}
			if hasNodePorts(service) && port.NodePort != 0 { // S13, S29
				f.kind, f.address = nodePort, netip.Addr{}
				all = append(all, f)
			}
		}
	}
	return all
}

// labelProxyName says that somebody else proxies a Service.
const labelProxyName = "service.kubernetes.io/service-proxy-name"

// proxied lists the Services that are to be proxied, older ones first. One whose
// ClusterIP an older one has is not in force.
func (w world) proxied() []*corev1.Service {
	var all []*corev1.Service
	for i := range w.cluster.Services {
		service := &w.cluster.Services[i]
		_, elsewhere := service.Labels[labelProxyName] // S93
		headless := service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone
		if !elsewhere && !headless && service.Spec.Type != corev1.ServiceTypeExternalName { // S92
			all = append(all, service)
		}
	}
	slices.SortFunc(all, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
	})
	taken := map[netip.Addr]bool{}
	return slices.DeleteFunc(all, func(service *corev1.Service) bool {
		own := clusterIPs(service)
		conflict := slices.ContainsFunc(own, func(address netip.Addr) bool { return taken[address] })
		for _, address := range own {
			taken[address] = taken[address] || !conflict
		}
		return conflict
	})
}

// clusterIPs are the ClusterIPs of all families.
func clusterIPs(service *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		if address, ok := clusterIP(service, family); ok {
			all = append(all, address)
		}
	}
	return all
}

// clusterIP is the ClusterIP of a family (S107).
func clusterIP(service *corev1.Service, family corev1.IPFamily) (netip.Addr, bool) {
	if len(service.Spec.IPFamilies) == 0 {
		address, ok := parseAddress(service.Spec.ClusterIP)
		return address, ok && familyOf(address) == family
	}
	i := slices.Index(service.Spec.IPFamilies, family)
	if i < 0 || i >= len(service.Spec.ClusterIPs) {
		return netip.Addr{}, false
	}
	return parseAddress(service.Spec.ClusterIPs[i])
}

// externalIPs are the usable external IPs (S37, S40, S41, S110). None may be an
// address that ClusterIPs are made of.
func (w world) externalIPs(service *corev1.Service, family corev1.IPFamily) []netip.Addr {
	if w.config.IgnoreExternalIPs {
		return nil
	}
	var all []netip.Addr
	for _, text := range service.Spec.ExternalIPs {
		if address, ok := parseAddress(text); ok && familyOf(address) == family && w.mayBeServed(address) && !w.forClusterIPs(address) {
			all = append(all, address)
		}
	}
	return all
}

// loadBalancerIPs are the addresses of the load balancer that the node serves itself
// (S23 to S28), with the same exception.
func (w world) loadBalancerIPs(service *corev1.Service, family corev1.IPFamily) []netip.Addr {
	var all []netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if ingress.IPMode != nil && *ingress.IPMode != corev1.LoadBalancerIPModeVIP {
			continue
		}
		if address, ok := parseAddress(ingress.IP); ok && familyOf(address) == family && w.mayBeServed(address) && !w.forClusterIPs(address) {
			all = append(all, address)
		}
	}
	return all
}

// forClusterIPs tells whether an address is in one of the ServiceCIDRs.
func (w world) forClusterIPs(address netip.Addr) bool {
	for _, object := range w.cluster.ServiceCIDRs {
		for _, text := range object.Spec.CIDRs {
			if cidr, ok := parsePrefix(text); ok && cidr.Contains(address) {
				return true
			}
		}
	}
	return false
}

func hasNodePorts(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeNodePort || service.Spec.Type == corev1.ServiceTypeLoadBalancer
}

// allowed tells whether the source ranges of a Service let a source in (S30 to S32).
func (w world) allowed(entry frontend, source netip.Addr) bool {
	var ranges []netip.Prefix
	for _, text := range entry.service.Spec.LoadBalancerSourceRanges {
		prefix, ok := parsePrefix(text)
		if !ok || familyOf(prefix.Addr()) != entry.family {
			continue
		}
		if prefix.Bits() == 0 {
			return true // S31
		}
		ranges = append(ranges, prefix)
	}
	contain := func(address netip.Addr) bool {
		return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(address) })
	}
	if len(ranges) == 0 || contain(source) {
		return true
	}
	own, ok := w.primaryAddress(entry.family)
	return ok && source == entry.address && contain(own) // S32
}
