package compile

import (
	"fmt"
	"strings"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Explain tells why a node in a zone sees a Service as it does: the decisions, a
// line each, and every endpoint with why it is in or out.
func Explain(service *model.Service, slicesOf []*model.Slice, node, zone string) ([]string, []*introspectionv1.Candidate) {
	decisions := []string{describe(service), policies(service)}
	var all []*introspectionv1.Candidate
	for _, s := range selections(service, slicesOf) {
		decisions = append(decisions, s.explain(node, zone)...)
		all = append(all, s.explainCandidates(node, zone)...)
	}
	return decisions, all
}

func describe(service *model.Service) string {
	line := fmt.Sprintf("%s is served on cluster IP %s", service, strings.Join(texts(service.ClusterIPs), " and "))
	if list := service.LoadBalancerIPs; len(list) > 0 {
		line += ", load-balancer IP " + strings.Join(texts(list), ", ")
	}
	if list := service.ExternalIPs; len(list) > 0 {
		line += ", external IP " + strings.Join(texts(list), ", ")
	}
	var nodePorts []string
	for _, port := range service.Ports {
		if port.NodePort != 0 {
			nodePorts = append(nodePorts, fmt.Sprintf("%d/%s", port.NodePort, port.Protocol))
		}
	}
	if len(nodePorts) > 0 {
		line += ", node port " + strings.Join(nodePorts, ", ")
	}
	return line
}

func policies(service *model.Service) string {
	name := map[model.TrafficPolicy]string{model.Cluster: "Cluster", model.Local: "Local"}
	line := fmt.Sprintf("internal traffic policy %s, external traffic policy %s", name[service.Internal], name[service.External])
	if service.AffinityTimeout > 0 {
		line += fmt.Sprintf(", a client keeps its endpoint for %s", service.AffinityTimeout)
	}
	if len(service.SourceRanges) > 0 {
		line += ", load-balancer IPs only from " + strings.Join(prefixTexts(service.SourceRanges), ", ")
	}
	return line
}

// explain returns what was decided for one port and family.
func (s *selection) explain(node, zone string) []string {
	prefix := fmt.Sprintf("%s %s/%d: ", family(s.is6), s.port.Protocol, s.port.Port)
	if s.port.Name != "" {
		prefix = fmt.Sprintf("%s port %q %s/%d: ", family(s.is6), s.port.Name, s.port.Protocol, s.port.Port)
	}
	used, local := s.decision.For(node, zone), s.decision.Local[node]
	lines := []string{prefix + s.basis(node, zone, len(used))}
	switch {
	case len(s.decision.Cluster) == 0:
		return append(lines, prefix+"no usable endpoint anywhere: connections are refused")
	case node == "":
		return lines
	case len(local) == 0:
		return append(lines, prefix+fmt.Sprintf("none of the %d usable endpoints is on %s: what a Local policy restricts is dropped there", len(s.decision.Cluster), node))
	default:
		return append(lines, prefix+fmt.Sprintf("%d on %s for what a Local policy restricts", len(local), node))
	}
}

// basis says why these endpoints serve Cluster traffic.
func (s *selection) basis(node, zone string, used int) string {
	of := fmt.Sprintf("%d of %d endpoints serve Cluster traffic: ", used, len(s.candidates))
	_, preferred := s.decision.Preferred[node]
	_, zoned := s.decision.Zones[zone]
	switch {
	case used == 0:
		return of + "none is ready" + s.drainedToo() + ", and none is terminating and still serving"
	case s.decision.Terminating:
		return of + "none is ready, so those that are terminating and still serve; topology is ignored"
	case preferred && node != "":
		return of + "every ready endpoint has a node hint, and these name " + node
	case zoned && zone != "":
		return of + "every ready endpoint has a zone hint, and these name " + zone
	case len(s.decision.Zones) > 0 && zone == "":
		return of + "all that are ready; there are zone hints, but the node has no zone"
	case len(s.decision.Zones) > 0:
		return of + "all that are ready; no zone hint names zone " + zone
	default:
		return of + "all that are ready; not every one has a hint, so there is no topology"
	}
}

// drainedToo says that there are endpoints that would be ready.
func (s *selection) drainedToo() string {
	for i := range s.candidates {
		if s.candidates[i].drained {
			return " with a weight above 0"
		}
	}
	return ""
}

func (s *selection) explainCandidates(node, zone string) []*introspectionv1.Candidate {
	used, local := s.decision.For(node, zone), s.decision.Local[node]
	list := make([]*introspectionv1.Candidate, len(s.candidates))
	for i := range s.candidates {
		c := &s.candidates[i]
		list[i] = &introspectionv1.Candidate{
			Address: c.addrPort().String(), PortName: s.port.Name, Slice: c.slice.String(),
			Node: c.endpoint.Node, Zone: c.endpoint.Zone,
			Cluster: has(used, i), Local: node != "" && has(local, i),
		}
		list[i].Reason = s.reason(i, list[i].GetCluster())
	}
	return list
}

func (s *selection) reason(i int, used bool) string {
	c := &s.candidates[i]
	e := &c.endpoint
	switch {
	case c.drained:
		return "weight 0: keeps its connections, gets no new ones"
	case e.Ready:
		if used && c.weight != model.DefaultWeight {
			return fmt.Sprintf("ready, weight %d", c.weight)
		}
		if used {
			return "ready"
		}
		return "ready, but hinted to " + hints(e)
	case e.Terminating && e.Serving:
		if used {
			return "terminating, still serving; nothing is ready"
		}
		return "terminating, still serving; not needed while others are ready"
	case e.Terminating:
		return "terminating, not serving"
	default:
		return "not ready"
	}
}

func hints(e *model.Endpoint) string {
	var parts []string
	if len(e.ZoneHints) > 0 {
		parts = append(parts, "zone "+strings.Join(e.ZoneHints, ", "))
	}
	if len(e.NodeHints) > 0 {
		parts = append(parts, "node "+strings.Join(e.NodeHints, ", "))
	}
	return strings.Join(parts, " and ")
}

func family(is6 bool) string {
	if is6 {
		return "IPv6"
	}
	return "IPv4"
}
