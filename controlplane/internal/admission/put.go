package admission

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// maxLoops bounds how many left-out addresses of one object are listed.
const maxLoops = 10

// putService puts what is admitted of a Service into the store.
func (b *Batch) putService(s *service) {
	s.dirty = false
	name := objects.ServiceName(s.key)
	switch {
	case s.value == nil:
		b.tx.DeleteService(s.key)
		b.SetProblems(name, s.problems)
		if len(s.problems) == 0 {
			delete(b.w.services, s.key)
		}
	case !s.admitted:
		b.tx.DeleteService(s.key)
		b.SetProblems(name, append(slices.Clip(s.problems), b.rejection(s)))
	default:
		value, loops := b.withoutLoops(s)
		b.tx.SetService(value)
		b.SetProblems(name, append(slices.Clip(s.problems), loops...))
	}
}

func (b *Batch) rejection(s *service) model.Problem {
	addr, holder := b.w.claims.conflict(s)
	return model.Problem{
		Object: objects.ServiceName(s.key), Field: "spec.clusterIP", Value: addr.String(), Reason: model.Conflict,
		Message: objects.ServiceName(holder.key) + " holds this address; this Service is not in force until the address is free",
	}
}

// withoutLoops returns the Service without outside addresses that are ClusterIPs.
func (b *Batch) withoutLoops(s *service) (*model.Service, []model.Problem) {
	if !slices.ContainsFunc(outsideIPs(s.value), b.held) {
		return s.value, nil
	}
	value := *s.value
	var loops []model.Problem
	keep := func(field string, list []netip.Addr) []netip.Addr {
		var kept []netip.Addr
		for _, addr := range list {
			if holder := b.w.claims.holder(addr); holder != nil {
				loops = appendLoop(loops, objects.ServiceName(s.key), field, addr, holder)
				continue
			}
			kept = append(kept, addr)
		}
		return kept
	}
	value.ExternalIPs = keep("spec.externalIPs", value.ExternalIPs)
	value.LoadBalancerIPs = keep("status.loadBalancer.ingress", value.LoadBalancerIPs)
	return &value, loops
}

// putSlice puts what is admitted of an EndpointSlice into the store.
func (b *Batch) putSlice(s *slice) {
	s.dirty = false
	name := objects.SliceName(s.key)
	if s.value == nil {
		b.tx.DeleteSlice(s.key)
		b.SetProblems(name, s.problems)
		if len(s.problems) == 0 {
			delete(b.w.slices, s.key)
		}
		return
	}
	value := s.value
	var loops []model.Problem
	if slices.ContainsFunc(value.Endpoints, func(e model.Endpoint) bool { return b.held(e.Addr) }) {
		filtered := *value
		filtered.Endpoints = nil
		for _, e := range value.Endpoints {
			if holder := b.w.claims.holder(e.Addr); holder != nil {
				loops = appendLoop(loops, name, "endpoints", e.Addr, holder)
				continue
			}
			filtered.Endpoints = append(filtered.Endpoints, e)
		}
		value = &filtered
	}
	b.tx.SetSlice(value)
	b.SetProblems(name, append(slices.Clip(s.problems), loops...))
}

// held tells whether the address is the ClusterIP of a Service in force.
func (b *Batch) held(addr netip.Addr) bool { return b.w.claims.holder(addr) != nil }

// appendLoop lists a left-out address, up to a bound.
func appendLoop(loops []model.Problem, object, field string, addr netip.Addr, holder *service) []model.Problem {
	if len(loops) >= maxLoops {
		return append(loops[:maxLoops], model.Problem{Object: object, Field: field, Message: "more than " + strconv.Itoa(maxLoops) + " addresses are ClusterIPs"})
	}
	return append(loops, model.Problem{
		Object: object, Field: field, Value: addr.String(),
		Message: "is the ClusterIP of " + objects.ServiceName(holder.key) + "; the address is ignored",
	})
}

// outsideIPs returns the external and load balancer IPs.
func outsideIPs(s *model.Service) []netip.Addr {
	if len(s.LoadBalancerIPs) == 0 {
		return s.ExternalIPs
	}
	return append(slices.Clip(s.ExternalIPs), s.LoadBalancerIPs...)
}
