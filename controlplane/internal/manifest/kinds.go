package manifest

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portolan-net/portolan/api/address"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// id names an object.
type id struct{ kind, namespace, name string }

// String returns "Service demo/web" or "Node n1".
func (i id) String() string {
	if i.namespace == "" {
		return strings.TrimSpace(i.kind + " " + i.name)
	}
	return i.kind + " " + i.namespace + "/" + i.name
}

func (i id) key() model.Key { return model.Key{Namespace: i.namespace, Name: i.name} }

// kind is a kind of object that is read.
type kind struct {
	apiVersion string
	namespaced bool
	make       func() metav1.Object
}

// kinds has what a source is asked for.
var kinds = map[string]kind{
	"Service":       {"v1", true, func() metav1.Object { return &corev1.Service{} }},
	"Node":          {"v1", false, func() metav1.Object { return &corev1.Node{} }},
	"EndpointSlice": {"discovery.k8s.io/v1", true, func() metav1.Object { return &discoveryv1.EndpointSlice{} }},
	"ServiceCIDR":   {"networking.k8s.io/v1", false, func() metav1.Object { return &networkingv1.ServiceCIDR{} }},
}

// group returns the API group of an apiVersion; the core group is empty.
func group(apiVersion string) string {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return ""
	}
	return group
}

// put puts the object into force, as far as it is admitted.
func put(b *admission.Batch, object metav1.Object) {
	switch o := object.(type) {
	case *corev1.Service:
		b.SetService(o)
	case *discoveryv1.EndpointSlice:
		b.SetEndpointSlice(o)
	case *corev1.Node:
		b.SetNode(o)
	case *networkingv1.ServiceCIDR:
		b.SetServiceCIDR(o)
	}
}

// remove takes the object out of force.
func remove(b *admission.Batch, i id) {
	switch i.kind {
	case "Service":
		b.DeleteService(i.key())
	case "EndpointSlice":
		b.DeleteEndpointSlice(i.key())
	case "Node":
		b.DeleteNode(i.name)
	case "ServiceCIDR":
		b.DeleteServiceCIDR(i.name)
	}
}

// complete fills in what an API server would have and returns what it would have
// refused the object for: field, value, expectation.
func complete(object metav1.Object, namespaced bool) (field, value, expected string) {
	if namespaced && object.GetNamespace() == "" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	if !namespaced {
		object.SetNamespace("")
	}
	if problems := validation.IsDNS1123Subdomain(object.GetName()); len(problems) > 0 {
		return "metadata.name", object.GetName(), "expected " + problems[0]
	}
	if problems := validation.IsDNS1123Label(object.GetNamespace()); namespaced && len(problems) > 0 {
		return "metadata.namespace", object.GetNamespace(), "expected " + problems[0]
	}
	switch o := object.(type) {
	case *corev1.Service:
		completeService(&o.Spec)
		if lacksClusterIP(o) {
			return "spec.clusterIP", "", "expected an address, or None: nobody allocates one for a manifest"
		}
	case *discoveryv1.EndpointSlice:
		for i := range o.Ports {
			if o.Ports[i].Name == nil {
				o.Ports[i].Name = new(string)
			}
		}
	}
	return "", "", ""
}

// lacksClusterIP tells whether an API server would have allocated a ClusterIP for
// us.
func lacksClusterIP(service *corev1.Service) bool {
	_, another := service.Labels[objects.LabelProxyName]
	return service.Spec.ClusterIP == "" && service.Spec.Type != corev1.ServiceTypeExternalName && !another
}

// completeService lets clusterIP, clusterIPs and ipFamilies follow from each
// other. An address that does not parse has no family; it is reported later.
func completeService(spec *corev1.ServiceSpec) {
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	if spec.ClusterIP == "" || spec.ClusterIP == corev1.ClusterIPNone {
		return
	}
	if len(spec.ClusterIPs) == 0 {
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
	for _, value := range spec.ClusterIPs[min(len(spec.IPFamilies), len(spec.ClusterIPs)):] {
		family := corev1.IPv4Protocol
		if addr, err := address.Parse(value); err == nil && addr.Is6() {
			family = corev1.IPv6Protocol
		}
		spec.IPFamilies = append(spec.IPFamilies, family)
	}
}
