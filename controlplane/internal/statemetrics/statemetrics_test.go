package statemetrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func slicing(name, service string, ready ...*bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
	for _, r := range ready {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: r}})
	}
	return s
}

// TestWhatIsSaidIsWhatKubeStateMetricsSays: names, labels and help, of all types of Services.
func TestWhatIsSaidIsWhatKubeStateMetricsSays(t *testing.T) {
	yes, no := true, false
	s := New()
	s.ServiceSet(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web", UID: "u1"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}})
	s.ServiceSet(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "lb", UID: "u2"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.2", LoadBalancerIP: "192.0.2.1"}})
	s.ServiceSet(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "out", UID: "u3"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}})
	s.ServiceSet(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "gone"}})
	s.ServiceDeleted(model.Key{Namespace: "demo", Name: "gone"})
	s.SliceSet(slicing("web-1", "web", nil, &yes, &no))
	s.SliceSet(slicing("web-2", "web", &no))
	s.SliceSet(slicing("lb-1", "lb", &no))
	s.SliceSet(slicing("lb-1", "lb", &yes))
	s.SliceSet(slicing("nobodys", "", &yes))
	s.SliceSet(slicing("gone-1", "gone", &yes))
	s.SliceDeleted(model.Key{Namespace: "demo", Name: "gone-1"})
	const want = `
# HELP kube_endpoint_address_available Number of addresses available in endpoint.
# TYPE kube_endpoint_address_available gauge
kube_endpoint_address_available{endpoint="lb",namespace="demo"} 1
kube_endpoint_address_available{endpoint="web",namespace="demo"} 2
# HELP kube_endpoint_address_not_ready Number of addresses not ready in endpoint.
# TYPE kube_endpoint_address_not_ready gauge
kube_endpoint_address_not_ready{endpoint="lb",namespace="demo"} 0
kube_endpoint_address_not_ready{endpoint="web",namespace="demo"} 2
# HELP kube_service_info Information about service.
# TYPE kube_service_info gauge
kube_service_info{cluster_ip="",external_name="example.org",load_balancer_ip="",namespace="demo",service="out",uid="u3"} 1
kube_service_info{cluster_ip="10.96.0.1",external_name="",load_balancer_ip="",namespace="demo",service="web",uid="u1"} 1
kube_service_info{cluster_ip="10.96.0.2",external_name="",load_balancer_ip="192.0.2.1",namespace="demo",service="lb",uid="u2"} 1
# HELP kube_service_spec_type Type about service.
# TYPE kube_service_spec_type gauge
kube_service_spec_type{namespace="demo",service="lb",type="LoadBalancer",uid="u2"} 1
kube_service_spec_type{namespace="demo",service="out",type="ExternalName",uid="u3"} 1
kube_service_spec_type{namespace="demo",service="web",type="ClusterIP",uid="u1"} 1
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
