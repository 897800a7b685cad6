package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/topology"
)

// selection is the endpoint choice for one Service port in one family.
type selection struct {
	port       model.Port
	is6        bool
	candidates []candidate
	decision   topology.Decision
}

// candidate is an endpoint that serves the port, with where it came from.
type candidate struct {
	endpoint model.Endpoint
	port     uint16
	slice    *model.Slice
	weight   uint16
	// drained is set if the weight of 0 takes new connections from it that it could
	// serve otherwise.
	drained bool
}

// weigh gives a candidate its weight. One of weight 0 is as one that is not ready, but
// serves on: topology does not count on it.
func (c *candidate) weigh(weights *model.Weights) {
	c.weight = weights.Of(&c.endpoint)
	if c.weight > 0 || !c.endpoint.Ready && !c.endpoint.Serving {
		return
	}
	c.drained = true
	c.endpoint.Ready, c.endpoint.Serving, c.endpoint.Terminating = false, true, false
}

func (c *candidate) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(c.endpoint.Addr, c.port)
}

// selections makes the endpoint choice for every port and family of a Service.
func selections(service *model.Service, slicesOf []*model.Slice) []*selection {
	var all []*selection
	for _, is6 := range []bool{false, true} {
		if !service.HasFamily(is6) {
			continue
		}
		for _, port := range service.Ports {
			s := &selection{port: port, is6: is6, candidates: candidates(port, is6, slicesOf)}
			endpoints := make([]model.Endpoint, len(s.candidates))
			for i := range s.candidates {
				s.candidates[i].weigh(service.Weights)
				endpoints[i] = s.candidates[i].endpoint
			}
			s.decision = topology.Decide(endpoints)
			all = append(all, s)
		}
	}
	return all
}

// has tells whether a candidate is in a list of a decision, which is in order: a
// Service may have tens of thousands.
func has(list []int, index int) bool {
	_, found := slices.BinarySearch(list, index)
	return found
}

// candidates returns the endpoints of the slices that serve a port, ordered by
// address and port, each once. Of duplicates one that is not terminating decides,
// among equals one that can be used, so that the names of slices do not matter.
func candidates(port model.Port, is6 bool, slicesOf []*model.Slice) []candidate {
	var list []candidate
	for _, slice := range slicesOf {
		if slice.Is6 != is6 {
			continue
		}
		for _, p := range slice.Ports {
			if p.Name != port.Name || p.Protocol != port.Protocol {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				list = append(list, candidate{endpoint: endpoint, port: p.Port, slice: slice})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		return cmp.Or(
			a.addrPort().Compare(b.addrPort()),
			compareBool(a.endpoint.Terminating, b.endpoint.Terminating),
			compareBool(!a.endpoint.Ready, !b.endpoint.Ready),
			compareBool(!a.endpoint.Serving, !b.endpoint.Serving),
			a.slice.Compare(b.slice.Key),
		)
	})
	return slices.CompactFunc(list, func(a, b candidate) bool { return a.addrPort() == b.addrPort() })
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
