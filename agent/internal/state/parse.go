package state

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/portolan-net/portolan/api/address"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

var errUnknownKind = errors.New("kind of resource is not known to this agent: upgrade the agent")

const maxAffinity = 24 * time.Hour

func parseService(name string, p *discoveryv1.Service) (*Service, error) {
	s := &Service{
		Name:          name,
		InternalLocal: p.GetInternalTrafficPolicy() == discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL,
		ExternalLocal: p.GetExternalTrafficPolicy() == discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL,
		Affinity:      p.GetSessionAffinityTimeout().AsDuration(),
		Scheduler:     p.GetScheduler(),
		Created:       p.GetCreated(),
	}
	if s.Affinity < 0 || s.Affinity > maxAffinity {
		return nil, fmt.Errorf("session_affinity_timeout %s: expected at most %s", s.Affinity, maxAffinity)
	}
	var err error
	if s.ClusterIPs, err = addresses("cluster_ips", p.GetClusterIps(), address.CheckVIP); err != nil {
		return nil, err
	}
	if s.ExternalIPs, err = addresses("external_ips", p.GetExternalIps(), address.CheckVIP); err != nil {
		return nil, err
	}
	if s.LoadBalancerIPs, err = addresses("load_balancer_ips", p.GetLoadBalancerIps(), address.CheckVIP); err != nil {
		return nil, err
	}
	if s.SourceRanges, err = prefixes("load_balancer_source_ranges", p.GetLoadBalancerSourceRanges()); err != nil {
		return nil, err
	}
	if s.HealthCheckNodePort, err = portNumber("health_check_node_port", p.GetHealthCheckNodePort(), true); err != nil {
		return nil, err
	}
	for i, port := range p.GetPorts() {
		parsed, err := parsePort(port)
		if err != nil {
			return nil, fmt.Errorf("ports[%d]: %w", i, err)
		}
		s.Ports = append(s.Ports, parsed)
	}
	return s, nil
}

func parsePort(p *discoveryv1.ServicePort) (Port, error) {
	protocol, err := parseProtocol(p.GetProtocol())
	if err != nil {
		return Port{}, err
	}
	number, err := portNumber("port", p.GetPort(), false)
	if err != nil {
		return Port{}, err
	}
	nodePort, err := portNumber("node_port", p.GetNodePort(), true)
	if err != nil {
		return Port{}, err
	}
	return Port{Name: p.GetName(), Protocol: protocol, Port: number, NodePort: nodePort}, nil
}

func parseProtocol(p discoveryv1.Protocol) (Protocol, error) {
	switch p {
	case discoveryv1.Protocol_PROTOCOL_TCP:
		return TCP, nil
	case discoveryv1.Protocol_PROTOCOL_UDP:
		return UDP, nil
	case discoveryv1.Protocol_PROTOCOL_SCTP:
		return SCTP, nil
	default:
		return 0, fmt.Errorf("protocol %d: expected TCP, UDP or SCTP", p)
	}
}

func portNumber(field string, value uint32, zeroIsNone bool) (uint16, error) {
	if value > 65535 || value == 0 && !zeroIsNone {
		return 0, fmt.Errorf("%s %d: expected 1 to 65535", field, value)
	}
	return uint16(value), nil
}

func addresses(field string, texts []string, check func(netip.Addr) error) ([]netip.Addr, error) {
	list := make([]netip.Addr, len(texts))
	for i, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %q: expected an IP address", field, i, text)
		}
		if err := check(a); err != nil {
			return nil, fmt.Errorf("%s[%d] %s: %w", field, i, text, err)
		}
		list[i] = a
	}
	return list, nil
}

func anyAddress(netip.Addr) error { return nil }

func prefixes(field string, texts []string) ([]netip.Prefix, error) {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %q: expected a CIDR", field, i, text)
		}
		list[i] = p.Masked()
	}
	return list, nil
}

func parseEndpointSet(name string, p *discoveryv1.EndpointSet) (*EndpointSet, error) {
	groups, err := parseGroups("groups", p.GetGroups())
	if err != nil {
		return nil, err
	}
	return &EndpointSet{Name: name, Service: p.GetService(), Groups: groups}, nil
}

func parseLocalEndpoints(name string, p *discoveryv1.LocalEndpoints) (*LocalEndpoints, error) {
	local, err := parseGroups("local", p.GetLocal())
	if err != nil {
		return nil, err
	}
	preferred, err := parseGroups("preferred", p.GetPreferred())
	if err != nil {
		return nil, err
	}
	return &LocalEndpoints{Name: name, Local: local, Preferred: preferred}, nil
}

func parseGroups(field string, list []*discoveryv1.EndpointGroup) ([]Group, error) {
	groups := make([]Group, len(list))
	for i, p := range list {
		group, err := parseGroup(p)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].%w", field, i, err)
		}
		groups[i] = group
	}
	return groups, nil
}

func parseGroup(p *discoveryv1.EndpointGroup) (Group, error) {
	group := Group{Ports: make([]EndpointPort, len(p.GetPorts()))}
	for i, port := range p.GetPorts() {
		protocol, err := parseProtocol(port.GetProtocol())
		if err != nil {
			return Group{}, fmt.Errorf("ports[%d]: %w", i, err)
		}
		number, err := portNumber("port", port.GetPort(), false)
		if err != nil {
			return Group{}, fmt.Errorf("ports[%d]: %w", i, err)
		}
		group.Ports[i] = EndpointPort{Name: port.GetName(), Protocol: protocol, Port: number}
	}
	packed := make([]byte, 0, 512) // Enough for most; then it is not on the heap.
	for i, endpoint := range p.GetEndpoints() {
		if endpoint.GetState() > discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING {
			return Group{}, fmt.Errorf("endpoints[%d].state %d: not known to this agent", i, endpoint.GetState())
		}
		addr, err := netip.ParseAddr(endpoint.GetAddress())
		if err != nil {
			return Group{}, fmt.Errorf("endpoints[%d].address %q: expected an IP address", i, endpoint.GetAddress())
		}
		if err := address.CheckEndpoint(addr); err != nil {
			return Group{}, fmt.Errorf("endpoints[%d].address %s: %w", i, addr, err)
		}
		packed = appendEndpoint(packed, Endpoint{
			Addr:        addr,
			Terminating: endpoint.GetState() == discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING,
			Draining:    endpoint.GetState() == discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING,
			Weight:      endpoint.GetWeight(),
		})
	}
	group.Endpoints = Endpoints{string(packed)}
	return group, nil
}

func parseNodeConfig(name string, p *discoveryv1.NodeConfig) (*NodeConfig, error) {
	c := &NodeConfig{
		Name: name, Mode: p.GetMode(), Zone: p.GetZone(),
		Detect: p.GetDetectLocal().GetMode(), DetectInterface: p.GetDetectLocal().GetInterface(),
		MasqueradeAll: p.GetMasqueradeAll(), MasqueradeBit: p.GetMasqueradeBit(),
		SyncPeriod: p.GetSyncPeriod().AsDuration(), MinSyncPeriod: p.GetMinSyncPeriod().AsDuration(),
		IPVS: p.GetIpvs(), Conntrack: p.GetConntrack(), Ineligible: p.GetIneligible(),
		LocalhostNodePorts: p.GetLocalhostNodePorts(),
	}
	if err := checkIPVS(c); err != nil {
		return nil, err
	}
	if c.MasqueradeBit > 31 {
		return nil, fmt.Errorf("masquerade_bit %d: expected 0 to 31", c.MasqueradeBit)
	}
	var err error
	if c.NodeIPs, err = addresses("node_ips", p.GetNodeIps(), anyAddress); err != nil {
		return nil, err
	}
	if c.DetectCIDRs, err = prefixes("detect_local.cidrs", p.GetDetectLocal().GetCidrs()); err != nil {
		return nil, err
	}
	const primary = "primary"
	if list := p.GetNodePortAddresses(); len(list) == 1 && list[0] == primary {
		c.NodePortPrimary = true
	} else if c.NodePortCIDRs, err = prefixes("node_port_addresses", list); err != nil {
		return nil, err
	}
	return c, nil
}

// checkIPVS refuses what the kernel would take for something else.
func checkIPVS(c *NodeConfig) error {
	if c.Mode != discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		return nil
	}
	var err error
	if c.IPVSExclude, err = prefixes("ipvs.exclude_cidrs", c.IPVS.GetExcludeCidrs()); err != nil {
		return err
	}
	for _, timeout := range []struct {
		field string
		value time.Duration
	}{
		{"tcp_timeout", c.IPVS.GetTcpTimeout().AsDuration()},
		{"tcp_fin_timeout", c.IPVS.GetTcpFinTimeout().AsDuration()},
		{"udp_timeout", c.IPVS.GetUdpTimeout().AsDuration()},
	} {
		if timeout.value < 0 || timeout.value%time.Second != 0 {
			return fmt.Errorf("ipvs.%s %s: expected whole seconds, or 0s for what the kernel has", timeout.field, timeout.value)
		}
	}
	return nil
}

func parseClusterConfig(p *discoveryv1.ClusterConfig) (*ClusterConfig, error) {
	cidrs, err := prefixes("service_cidrs", p.GetServiceCidrs())
	if err != nil {
		return nil, err
	}
	return &ClusterConfig{ServiceCIDRs: cidrs}, nil
}
