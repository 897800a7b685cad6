package state

import (
	"iter"
	"net/netip"

	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Resources yields everything in the state in wire form, so that Apply on an
// empty state restores it. Versions are those that the control plane gave.
func (s *State) Resources() iter.Seq[*discoveryv1.Resource] {
	return func(yield func(*discoveryv1.Resource) bool) {
		if s.config != nil && !yield(encodeNodeConfig(s.config)) {
			return
		}
		if s.cluster != nil && !yield(encodeClusterConfig(s.cluster)) {
			return
		}
		for _, local := range s.locals {
			if !yield(encodeLocalEndpoints(local)) {
				return
			}
		}
		for _, set := range s.sets {
			if !yield(encodeEndpointSet(set)) {
				return
			}
		}
		for _, service := range s.services {
			if !yield(encodeService(service)) {
				return
			}
		}
	}
}

func encodeService(s *Service) *discoveryv1.Resource {
	body := &discoveryv1.Service{
		ClusterIps: texts(s.ClusterIPs), ExternalIps: texts(s.ExternalIPs), LoadBalancerIps: texts(s.LoadBalancerIPs),
		InternalTrafficPolicy: encodePolicy(s.InternalLocal), ExternalTrafficPolicy: encodePolicy(s.ExternalLocal),
		LoadBalancerSourceRanges: prefixTexts(s.SourceRanges),
		HealthCheckNodePort:      uint32(s.HealthCheckNodePort), Scheduler: s.Scheduler, Created: s.Created,
	}
	if s.Affinity > 0 {
		body.SessionAffinityTimeout = durationpb.New(s.Affinity)
	}
	for _, p := range s.Ports {
		body.Ports = append(body.Ports, &discoveryv1.ServicePort{
			Name: p.Name, Protocol: encodeProtocol(p.Protocol), Port: uint32(p.Port), NodePort: uint32(p.NodePort)})
	}
	return &discoveryv1.Resource{Name: s.Name, Version: s.Version, Body: &discoveryv1.Resource_Service{Service: body}}
}

func encodePolicy(local bool) discoveryv1.TrafficPolicy {
	if local {
		return discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL
	}
	return discoveryv1.TrafficPolicy_TRAFFIC_POLICY_CLUSTER
}

func encodeProtocol(p Protocol) discoveryv1.Protocol {
	switch p {
	case UDP:
		return discoveryv1.Protocol_PROTOCOL_UDP
	case SCTP:
		return discoveryv1.Protocol_PROTOCOL_SCTP
	default:
		return discoveryv1.Protocol_PROTOCOL_TCP
	}
}

func encodeEndpointSet(s *EndpointSet) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: s.Name, Version: s.Version, Body: &discoveryv1.Resource_EndpointSet{
		EndpointSet: &discoveryv1.EndpointSet{Service: s.Service, Groups: encodeGroups(s.Groups)}}}
}

func encodeLocalEndpoints(l *LocalEndpoints) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: l.Name, Version: l.Version, Body: &discoveryv1.Resource_LocalEndpoints{
		LocalEndpoints: &discoveryv1.LocalEndpoints{Local: encodeGroups(l.Local), Preferred: encodeGroups(l.Preferred)}}}
}

func encodeGroups(groups []Group) []*discoveryv1.EndpointGroup {
	list := make([]*discoveryv1.EndpointGroup, len(groups))
	for i, g := range groups {
		list[i] = &discoveryv1.EndpointGroup{}
		for _, p := range g.Ports {
			list[i].Ports = append(list[i].Ports, &discoveryv1.EndpointPort{
				Name: p.Name, Protocol: encodeProtocol(p.Protocol), Port: uint32(p.Port)})
		}
		for e := range g.Endpoints.All() {
			state := discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED
			switch {
			case e.Terminating:
				state = discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING
			case e.Draining:
				state = discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING
			}
			list[i].Endpoints = append(list[i].Endpoints, &discoveryv1.Endpoint{
				Address: e.Addr.String(), State: state, Weight: e.Weight})
		}
	}
	return list
}

func encodeNodeConfig(c *NodeConfig) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: c.Name, Version: c.Version, Body: &discoveryv1.Resource_NodeConfig{NodeConfig: c.Proto()}}
}

// Proto returns the wire form.
func (c *NodeConfig) Proto() *discoveryv1.NodeConfig {
	addresses := []string{"primary"}
	if !c.NodePortPrimary {
		addresses = prefixTexts(c.NodePortCIDRs)
	}
	return &discoveryv1.NodeConfig{
		Mode: c.Mode, Zone: c.Zone, NodeIps: texts(c.NodeIPs), NodePortAddresses: addresses,
		DetectLocal:   &discoveryv1.DetectLocal{Mode: c.Detect, Cidrs: prefixTexts(c.DetectCIDRs), Interface: c.DetectInterface},
		MasqueradeAll: c.MasqueradeAll, MasqueradeBit: c.MasqueradeBit,
		SyncPeriod: durationpb.New(c.SyncPeriod), MinSyncPeriod: durationpb.New(c.MinSyncPeriod),
		Ipvs: c.IPVS, Conntrack: c.Conntrack, Ineligible: c.Ineligible,
		LocalhostNodePorts: c.LocalhostNodePorts,
	}
}

func encodeClusterConfig(c *ClusterConfig) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: resource.ClusterConfigName, Version: c.Version, Body: &discoveryv1.Resource_ClusterConfig{
		ClusterConfig: &discoveryv1.ClusterConfig{ServiceCidrs: prefixTexts(c.ServiceCIDRs)}}}
}

func texts(list []netip.Addr) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return out
}

func prefixTexts(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}
