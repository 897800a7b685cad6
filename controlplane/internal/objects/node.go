package objects

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/portolan-net/portolan/api/address"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Node reads a Node.
func Node(in *corev1.Node) (*model.Node, []model.Problem, error) {
	r := &report{object: NodeName(in.Name)}
	out := &model.Node{
		Name:     in.Name,
		Zone:     in.Labels[corev1.LabelTopologyZone],
		IPs:      nodeIPs(r, in.Status.Addresses),
		PodCIDRs: podCIDRs(r, &in.Spec),
		Labels:   maps.Clone(in.Labels),

		Ineligible: ineligible(in),
	}
	return out, r.problems(), nil
}

// taintToBeDeleted is what the cluster autoscaler puts on a Node that it is about
// to remove.
const taintToBeDeleted = "ToBeDeletedByClusterAutoscaler"

// ineligible says why load balancers should not send to the Node (KEP-3836), or
// nothing.
func ineligible(in *corev1.Node) string {
	if in.DeletionTimestamp != nil {
		return "the Node is being deleted"
	}
	for _, taint := range in.Spec.Taints {
		if taint.Key == taintToBeDeleted {
			return "the Node has the taint " + taintToBeDeleted
		}
	}
	return ""
}

// nodeIPs takes each family's first InternalIP, else its first ExternalIP.
func nodeIPs(r *report, in []corev1.NodeAddress) []netip.Addr {
	var list []netip.Addr
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for i, a := range in {
			if a.Type != kind {
				continue
			}
			addr, err := address.Parse(a.Address)
			if err != nil {
				r.skip(index("status.addresses", i)+".address", shorten(a.Address), "expected an IP address; the entry is ignored")
				continue
			}
			addr = addr.Unmap()
			if !slices.ContainsFunc(list, func(have netip.Addr) bool { return have.Is6() == addr.Is6() }) {
				list = append(list, addr)
			}
		}
	}
	return list
}

// podCIDRs reads the single field of Nodes from before dual-stack if need be.
func podCIDRs(r *report, spec *corev1.NodeSpec) []netip.Prefix {
	in := spec.PodCIDRs
	if len(in) == 0 && spec.PodCIDR != "" {
		in = []string{spec.PodCIDR}
	}
	var list []netip.Prefix
	for i, value := range in {
		prefix, err := address.ParsePrefix(value)
		if err != nil {
			r.skip(index("spec.podCIDRs", i), shorten(value), "expected a CIDR such as 10.244.1.0/24; the entry is ignored")
			continue
		}
		list = appendNew(list, prefix)
	}
	return list
}

// ServiceCIDR reads a ServiceCIDR.
func ServiceCIDR(in *networkingv1.ServiceCIDR) (*model.ServiceCIDR, []model.Problem, error) {
	r := &report{object: ServiceCIDRName(in.Name)}
	out := &model.ServiceCIDR{Name: in.Name}
	for i, value := range in.Spec.CIDRs {
		prefix, err := address.ParsePrefix(value)
		if err != nil {
			r.fail(index("spec.cidrs", i), shorten(value), "expected a CIDR such as 10.96.0.0/12")
			continue
		}
		out.CIDRs = appendNew(out.CIDRs, prefix)
	}
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return out, nil, nil
}
