package admission

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// maxTaken bounds how many left-out addresses of one object are listed.
const maxTaken = 10

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
		value, taken := b.withoutTaken(s)
		b.tx.SetService(value)
		b.SetProblems(name, append(slices.Clip(s.problems), taken...))
	}
}

func (b *Batch) rejection(s *service) model.Problem {
	addr, holder := b.w.claims.conflict(s)
	return model.Problem{
		Object: objects.ServiceName(s.key), Field: "spec.clusterIP", Value: addr.String(), Reason: model.Conflict,
		Message: objects.ServiceName(holder.key) + " holds this address; this Service is not in force until the address is free",
	}
}

// withoutTaken returns the Service without outside addresses that belong to another.
func (b *Batch) withoutTaken(s *service) (*model.Service, []model.Problem) {
	if !slices.ContainsFunc(outsideIPs(s.value), func(addr netip.Addr) bool { return b.taken(addr) != "" }) {
		return s.value, nil
	}
	value := *s.value
	taken := leftOut{object: objects.ServiceName(s.key)}
	keep := func(list []netip.Addr, fields map[netip.Addr]string) []netip.Addr {
		var kept []netip.Addr
		for _, addr := range list {
			if why := b.taken(addr); why != "" {
				taken.add(fields[addr], addr, why)
				continue
			}
			kept = append(kept, addr)
		}
		return kept
	}
	value.ExternalIPs = keep(value.ExternalIPs, s.fields.ExternalIPs)
	value.LoadBalancerIPs = keep(value.LoadBalancerIPs, s.fields.LoadBalancerIPs)
	return &value, taken.problems
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
	value, loops := b.withoutLoops(s.value)
	b.tx.SetSlice(value)
	b.SetProblems(name, append(slices.Clip(s.problems), loops...))
}

// withoutLoops returns the EndpointSlice without endpoints that are ClusterIPs.
func (b *Batch) withoutLoops(value *model.Slice) (*model.Slice, []model.Problem) {
	if !slices.ContainsFunc(value.Endpoints, func(e model.Endpoint) bool { return b.w.claims.holder(e.Addr) != nil }) {
		return value, nil
	}
	filtered := *value
	filtered.Endpoints = nil
	loops := leftOut{object: objects.SliceName(value.Key)}
	for _, e := range value.Endpoints {
		if why := b.holder(e.Addr); why != "" {
			loops.add("endpoints", e.Addr, why)
			continue
		}
		filtered.Endpoints = append(filtered.Endpoints, e)
	}
	return &filtered, loops.problems
}

// holder says which Service in force has the address as its ClusterIP, if one has.
func (b *Batch) holder(addr netip.Addr) string {
	if holder := b.w.claims.holder(addr); holder != nil {
		return "is the ClusterIP of " + objects.ServiceName(holder.key)
	}
	return ""
}

// taken says to whom an outside address belongs already, if to anybody: a ClusterIP
// to its Service, and what lies in a ServiceCIDR to the Service that will get it.
func (b *Batch) taken(addr netip.Addr) string {
	if why := b.holder(addr); why != "" {
		return why
	}
	if cidr, prefix := b.w.cidrs.containing(addr); cidr != "" {
		return "lies in " + objects.ServiceCIDRName(cidr) + " (" + prefix.String() + "), where only ClusterIPs are"
	}
	return ""
}

// leftOut lists addresses of an object that are left out, up to a bound.
type leftOut struct {
	object   string
	problems []model.Problem
}

func (l *leftOut) add(field string, addr netip.Addr, why string) {
	if len(l.problems) >= maxTaken {
		l.problems = append(l.problems[:maxTaken], model.Problem{
			Object: l.object, Reason: model.Conflict, Message: "more than " + strconv.Itoa(maxTaken) + " addresses belong to others",
		})
		return
	}
	l.problems = append(l.problems, model.Problem{
		Object: l.object, Field: field, Value: addr.String(), Reason: model.Conflict, Message: why + "; the entry is ignored",
	})
}

// outsideIPs returns the external and load balancer IPs.
func outsideIPs(s *model.Service) []netip.Addr {
	if len(s.LoadBalancerIPs) == 0 {
		return s.ExternalIPs
	}
	return append(slices.Clip(s.ExternalIPs), s.LoadBalancerIPs...)
}
