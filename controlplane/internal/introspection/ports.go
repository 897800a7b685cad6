package introspection

import (
	"fmt"
	"net/netip"
	"slices"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// portKey is a Service port in one address family.
type portKey struct {
	name     string
	protocol discoveryv1.Protocol
	is6      bool
}

// ports returns a Service's ports as one node sees them, by family. Where the node
// prefers endpoints for a port in a family, they replace those of the sets.
func ports(service *discoveryv1.Service, sets []*discoveryv1.EndpointSet, local *discoveryv1.LocalEndpoints) []*introspectionv1.PortView {
	cluster := map[portKey][]netip.AddrPort{}
	for _, set := range sets {
		gather(cluster, set.GetGroups())
	}
	preferred := map[portKey][]netip.AddrPort{}
	gather(preferred, local.GetPreferred())
	for key, endpoints := range preferred {
		cluster[key] = endpoints
	}
	onNode := map[portKey][]netip.AddrPort{}
	gather(onNode, local.GetLocal())

	var views []*introspectionv1.PortView
	for _, is6 := range families(service) {
		for _, port := range service.GetPorts() {
			key := portKey{port.GetName(), port.GetProtocol(), is6}
			views = append(views, &introspectionv1.PortView{
				Name: port.GetName(), Protocol: port.GetProtocol(),
				Frontends:        frontends(service, port, is6),
				ClusterEndpoints: texts(cluster[key]),
				LocalEndpoints:   texts(onNode[key]),
			})
		}
	}
	return views
}

// gather adds the products of the groups' ports and endpoints.
func gather(into map[portKey][]netip.AddrPort, groups []*discoveryv1.EndpointGroup) {
	for _, group := range groups {
		for _, endpoint := range group.GetEndpoints() {
			if endpoint.GetState() == discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING {
				continue
			}
			address, err := netip.ParseAddr(endpoint.GetAddress())
			if err != nil {
				continue // The agent rejects it by name; there is no endpoint to show.
			}
			for _, port := range group.GetPorts() {
				key := portKey{port.GetName(), port.GetProtocol(), address.Is6()}
				into[key] = append(into[key], netip.AddrPortFrom(address, uint16(port.GetPort())))
			}
		}
	}
}

// families returns in which families a Service exists, in its order.
func families(service *discoveryv1.Service) []bool {
	var list []bool
	for _, text := range service.GetClusterIps() {
		if address, err := netip.ParseAddr(text); err == nil && !slices.Contains(list, address.Is6()) {
			list = append(list, address.Is6())
		}
	}
	return list
}

func frontends(service *discoveryv1.Service, port *discoveryv1.ServicePort, is6 bool) []string {
	var list []string
	for _, addresses := range [][]string{service.GetClusterIps(), service.GetLoadBalancerIps(), service.GetExternalIps()} {
		for _, text := range addresses {
			if address, err := netip.ParseAddr(text); err == nil && address.Is6() == is6 {
				list = append(list, netip.AddrPortFrom(address, uint16(port.GetPort())).String())
			}
		}
	}
	if port.GetNodePort() != 0 {
		list = append(list, fmt.Sprintf("*:%d", port.GetNodePort()))
	}
	return list
}

// texts returns the endpoints in order, each once.
func texts(endpoints []netip.AddrPort) []string {
	sorted := slices.Compact(slices.SortedFunc(slices.Values(endpoints), netip.AddrPort.Compare))
	list := make([]string, len(sorted))
	for i, endpoint := range sorted {
		list[i] = endpoint.String()
	}
	return list
}
