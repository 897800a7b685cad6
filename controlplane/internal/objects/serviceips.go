package objects

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/api/address"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// clusterIPs pairs clusterIPs with ipFamilies as the API does. An object from
// before dual-stack has only clusterIP.
func clusterIPs(r *report, spec *corev1.ServiceSpec) []netip.Addr {
	if len(spec.IPFamilies) == 0 {
		if addr, ok := clusterIP(r, "spec.clusterIP", spec.ClusterIP); ok {
			return []netip.Addr{addr}
		}
		return nil
	}
	var list []netip.Addr
	for i, family := range spec.IPFamilies {
		if i == len(spec.ClusterIPs) {
			break
		}
		field := index("spec.clusterIPs", i)
		addr, ok := clusterIP(r, field, spec.ClusterIPs[i])
		switch {
		case !ok:
		case family != familyOf(addr):
			r.fail(field, spec.ClusterIPs[i], "expected an address of family %s, as %s says", family, index("spec.ipFamilies", i))
		case slices.ContainsFunc(list, func(a netip.Addr) bool { return a.Is6() == addr.Is6() }):
			r.fail(field, spec.ClusterIPs[i], "expected one address of each family")
		default:
			list = append(list, addr)
		}
	}
	return list
}

func clusterIP(r *report, field, value string) (netip.Addr, bool) {
	addr, err := address.Parse(value)
	if err != nil {
		r.fail(field, shorten(value), "expected an IP address")
		return addr, false
	}
	if err := address.CheckVIP(addr); err != nil {
		r.fail(field, value, "%v", err)
		return addr, false
	}
	return addr, true
}

func familyOf(addr netip.Addr) corev1.IPFamily {
	if addr.Is6() {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

func externalIPs(r *report, s *model.Service, in []string) []netip.Addr {
	var list []netip.Addr
	for i, value := range in {
		list = appendVIP(r, s, list, index("spec.externalIPs", i), value)
	}
	return list
}

// loadBalancerIPs leaves out what the load balancer handles itself (ipMode
// Proxy) and host names, which no packet carries.
func loadBalancerIPs(r *report, s *model.Service, in []corev1.LoadBalancerIngress) []netip.Addr {
	var list []netip.Addr
	for i, ingress := range in {
		if ingress.IP == "" || ingress.IPMode != nil && *ingress.IPMode == corev1.LoadBalancerIPModeProxy {
			continue
		}
		field := index("status.loadBalancer.ingress", i)
		if ingress.IPMode != nil && *ingress.IPMode != corev1.LoadBalancerIPModeVIP {
			r.skip(field+".ipMode", shorten(string(*ingress.IPMode)), "expected VIP or Proxy; the address is ignored")
			continue
		}
		list = appendVIP(r, s, list, field+".ip", ingress.IP)
	}
	return list
}

// Fields tell in which field of a Service each of its outside addresses is; of a
// repeated one, the first.
type Fields struct {
	ExternalIPs, LoadBalancerIPs map[netip.Addr]string
}

// OutsideFields reads the addresses of a Service as Service does.
func OutsideFields(in *corev1.Service) Fields {
	var f Fields
	note := func(into *map[netip.Addr]string, field, value string) {
		addr, err := address.Parse(value)
		if err != nil {
			return
		}
		if *into == nil {
			*into = map[netip.Addr]string{}
		}
		if _, again := (*into)[addr]; !again {
			(*into)[addr] = field
		}
	}
	for i, value := range in.Spec.ExternalIPs {
		note(&f.ExternalIPs, index("spec.externalIPs", i), value)
	}
	for i, ingress := range in.Status.LoadBalancer.Ingress {
		note(&f.LoadBalancerIPs, index("status.loadBalancer.ingress", i)+".ip", ingress.IP)
	}
	return f
}

// appendVIP adds an outside address if it may be captured, the Service has its
// family and it is not there yet.
func appendVIP(r *report, s *model.Service, list []netip.Addr, field, value string) []netip.Addr {
	addr, err := address.Parse(value)
	if err != nil {
		r.skip(field, shorten(value), "expected an IP address; the entry is ignored")
		return list
	}
	if err := address.CheckVIP(addr); err != nil {
		r.skip(field, value, "%v; the entry is ignored", err)
		return list
	}
	if !s.HasFamily(addr.Is6()) {
		return list
	}
	return appendNew(list, addr)
}

// sourceRanges refuses the Service over one bad range: a filter with a hole, or
// with less than was asked for, is not a filter.
func sourceRanges(r *report, in []string) []netip.Prefix {
	var list []netip.Prefix
	// open are the families that a range of length zero opens to everybody.
	open := map[bool]bool{}
	for i, value := range in {
		if strings.TrimSpace(value) == "" {
			continue
		}
		prefix, err := address.ParsePrefix(value)
		if err != nil {
			r.fail(index("spec.loadBalancerSourceRanges", i), shorten(value), "expected a CIDR such as 192.0.2.0/24")
			continue
		}
		if prefix.Bits() == 0 {
			open[prefix.Addr().Is6()] = true
		}
		list = appendNew(list, prefix)
	}
	list = slices.DeleteFunc(list, func(p netip.Prefix) bool { return open[p.Addr().Is6()] })
	if len(list) == 0 {
		return nil
	}
	return list
}
