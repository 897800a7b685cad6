package admission

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// TestNothingRemainsOfWhatIsDeleted: good, rejected or unusable. A writer lives as
// long as the cluster, in which objects come and go.
func TestNothingRemainsOfWhatIsDeleted(t *testing.T) {
	w := NewWriter(cluster.NewStore(), hclog.NewNullLogger(), DefaultLimits())
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "demo", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "good"}}
	}
	service := func(name string, port int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: meta(name), Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: port}}, ExternalIPs: []string{"198.51.100.1", "198.51.100.2"},
		}}
	}
	slice := func(name string, family discoveryv1.AddressType) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: meta(name), AddressType: family,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.96.0.1"}}}}
	}
	for range 2 { // What is deleted may come again.
		w.Update(func(b *Batch) {
			b.SetService(service("good", 80))
			b.SetService(service("rival", 80))
			b.SetService(service("unusable", 0))
			b.SetEndpointSlice(slice("good", discoveryv1.AddressTypeIPv4))
			b.SetEndpointSlice(slice("other", discoveryv1.AddressTypeIPv4))
			b.SetEndpointSlice(slice("unusable", "IPv5"))
			b.SetServiceCIDR(&networkingv1.ServiceCIDR{ObjectMeta: meta("k"), Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}})
		})
		if len(w.services) != 3 || len(w.slices) != 3 {
			t.Fatalf("%d Services and %d slices are known, want 3 and 3", len(w.services), len(w.slices))
		}
		for _, name := range []string{"good", "rival", "other", "unusable"} {
			w.Update(func(b *Batch) {
				b.DeleteService(model.Key{Namespace: "demo", Name: name})
				b.DeleteEndpointSlice(model.Key{Namespace: "demo", Name: name})
			})
		}
		w.Update(func(b *Batch) { b.DeleteServiceCIDR("k") })
		for what, n := range map[string]int{
			"Services": len(w.services), "slices": len(w.slices), "claims": len(w.claims), "ServiceCIDRs": len(w.cidrs),
			"outside addresses": len(w.outside.first) + len(w.outside.more), "endpoints": len(w.endpoints.first) + len(w.endpoints.more),
			"problems": len(w.store.Problems()),
		} {
			if n != 0 {
				t.Errorf("%d %s remain", n, what)
			}
		}
	}
}
