package compile

import (
	"net/netip"

	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// Service returns all resources of a Service, given its slices ordered by name.
// A nil Service has none.
func Service(service *model.Service, slicesOf []*model.Slice) []snapshot.Scoped {
	if service == nil {
		return nil
	}
	chosen := selections(service, slicesOf)
	resources := endpointSets(service, slicesOf, chosen)
	resources = append(resources, localEndpoints(service, chosen)...)
	return append(resources, snapshot.Scoped{Resource: &discoveryv1.Resource{
		Name: service.String(),
		Body: &discoveryv1.Resource_Service{Service: serviceBody(service)},
	}})
}

func serviceBody(service *model.Service) *discoveryv1.Service {
	body := &discoveryv1.Service{
		ClusterIps:               texts(service.ClusterIPs),
		ExternalIps:              texts(service.ExternalIPs),
		LoadBalancerIps:          texts(service.LoadBalancerIPs),
		InternalTrafficPolicy:    policy(service.Internal),
		ExternalTrafficPolicy:    policy(service.External),
		LoadBalancerSourceRanges: prefixTexts(service.SourceRanges),
		HealthCheckNodePort:      uint32(service.HealthCheckNodePort),
		Scheduler:                service.Scheduler,
	}
	if !service.Created.IsZero() {
		body.Created = service.Created.Unix()
	}
	if service.AffinityTimeout > 0 {
		body.SessionAffinityTimeout = durationpb.New(service.AffinityTimeout)
	}
	for _, port := range service.Ports {
		body.Ports = append(body.Ports, &discoveryv1.ServicePort{
			Name: port.Name, Protocol: protocol(port.Protocol),
			Port: uint32(port.Port), NodePort: uint32(port.NodePort),
		})
	}
	return body
}

func protocol(p model.Protocol) discoveryv1.Protocol { return discoveryv1.Protocol(p) }

func policy(p model.TrafficPolicy) discoveryv1.TrafficPolicy {
	if p == model.Local {
		return discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL
	}
	return discoveryv1.TrafficPolicy_TRAFFIC_POLICY_CLUSTER
}

func texts(addresses []netip.Addr) []string {
	list := make([]string, len(addresses))
	for i, a := range addresses {
		list[i] = a.String()
	}
	return list
}

func prefixTexts(prefixes []netip.Prefix) []string {
	list := make([]string, len(prefixes))
	for i, p := range prefixes {
		list[i] = p.String()
	}
	return list
}
