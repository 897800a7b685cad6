package ruleset

import (
	"net/netip"
	"slices"
)

// HealthCheck is where load balancers ask whether this node has endpoints of a
// Service of its own.
type HealthCheck struct {
	// Listen is a local address, or the unspecified one for all of a family.
	Listen netip.AddrPort
	// Service is "namespace/name".
	Service string
	// Ready is how many ready endpoints of the family are on this node.
	Ready int
}

// healthChecks returns a Service's health checks, one for each address.
func healthChecks(view View, env Environment) []HealthCheck {
	service := view.Service
	if service == nil || service.HealthCheckNodePort == 0 {
		return nil
	}
	var list []HealthCheck
	for _, addr := range env.HealthCheckAddrs {
		if !slices.ContainsFunc(service.ClusterIPs, func(ip netip.Addr) bool { return ip.Is6() == addr.Is6() }) {
			continue
		}
		list = append(list, HealthCheck{
			Listen:  netip.AddrPortFrom(addr, service.HealthCheckNodePort),
			Service: service.Name,
			Ready:   readyHere(view, addr.Is6()),
		})
	}
	return list
}

// readyHere counts the distinct addresses of ready endpoints on this node. Those
// that are terminating do not count, although they may still be used.
func readyHere(view View, is6 bool) int {
	if view.Local == nil {
		return 0
	}
	distinct := map[netip.Addr]struct{}{}
	for _, group := range view.Local.Local {
		for endpoint := range group.Endpoints.All() {
			if endpoint.Addr.Is6() == is6 && !endpoint.Terminating {
				distinct[endpoint.Addr] = struct{}{}
			}
		}
	}
	return len(distinct)
}

// HealthChecks returns all health checks, ordered by address.
func (t *Table) HealthChecks() []HealthCheck {
	list := t.checks.all()
	slices.SortFunc(list, func(a, b HealthCheck) int { return a.Listen.Compare(b.Listen) })
	return list
}
