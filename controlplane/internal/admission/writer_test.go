package admission_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// world is a store and its writer.
type world struct {
	store *cluster.Store
	*admission.Writer
}

func newWorld() world {
	store := cluster.NewStore()
	return world{store, admission.NewWriter(store, hclog.NewNullLogger(), admission.DefaultLimits())}
}

func (w world) set(list ...any) {
	w.Update(func(b *admission.Batch) {
		for _, object := range list {
			put(b, object)
		}
	})
}

func put(b *admission.Batch, object any) {
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

func (w world) deleteService(name string) {
	w.Update(func(b *admission.Batch) { b.DeleteService(model.ParseKey(name)) })
}

func (w world) service(name string) *model.Service {
	s, _ := w.store.Service(model.ParseKey(name))
	return s
}

// endpoints returns the addresses in force of a Service.
func (w world) endpoints(name string) []string {
	var list []string
	_, owned := w.store.Service(model.ParseKey(name))
	for _, s := range owned {
		for _, e := range s.Endpoints {
			list = append(list, e.Addr.String())
		}
	}
	return list
}

// problems returns what is recorded about an object, in one string.
func (w world) problems(object string) string {
	var list []string
	for _, p := range w.store.Problems() {
		if p.Object == object {
			list = append(list, p.String())
		}
	}
	return strings.Join(list, "\n")
}

// service returns a Service in the default namespace; age is in seconds before
// some time, so that the larger is the older.
func service(name string, age int, clusterIPs ...string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name,
			CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000-int64(age), 0)),
		},
		Spec: corev1.ServiceSpec{
			ClusterIP:  clusterIPs[0],
			ClusterIPs: clusterIPs,
			Ports:      []corev1.ServicePort{{Port: 80}},
		},
	}
	for _, ip := range clusterIPs {
		family := corev1.IPv4Protocol
		if strings.Contains(ip, ":") {
			family = corev1.IPv6Protocol
		}
		s.Spec.IPFamilies = append(s.Spec.IPFamilies, family)
	}
	return s
}

func slice(name, service string, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

func TestTheOlderServiceHasTheClusterIP(t *testing.T) {
	older, younger := service("b", 2, "10.96.0.1"), service("a", 1, "10.96.0.1")
	for name, order := range map[string][]any{"older first": {older, younger}, "younger first": {younger, older}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, o := range order {
				w.set(o)
			}
			if w.service("b") == nil || w.service("a") != nil {
				t.Fatalf("b %v, a %v: want only b", w.service("b"), w.service("a"))
			}
			got := w.problems("Service default/a")
			for _, want := range []string{"Service default/b", "10.96.0.1", "spec.clusterIP"} {
				if !strings.Contains(got, want) {
					t.Errorf("problem %q does not say %q", got, want)
				}
			}
			if got := w.problems("Service default/b"); got != "" {
				t.Errorf("the holder is harmed: %s", got)
			}
			w.deleteService("b")
			if w.service("a") == nil || w.problems("Service default/a") != "" {
				t.Errorf("a is not admitted when the address is free: %s", w.problems("Service default/a"))
			}
		})
	}
}

func TestWhoHasAClusterIP(t *testing.T) {
	x, y := "10.96.0.1", "2001:db8::1"
	for name, c := range map[string]struct {
		batches [][]any
		want    string
	}{
		"of the same age and both new, the first by name": {
			[][]any{{service("b", 1, x), service("a", 1, x)}}, "a"},
		"of the same age, the one that has it": {
			[][]any{{service("b", 1, x)}, {service("a", 1, x)}}, "b"},
		"an older one, though a younger one has it": {
			[][]any{{service("a", 1, x)}, {service("b", 2, x)}}, "b"},
		"the one that has it, though it changes otherwise": {
			[][]any{{service("b", 1, x)}, {service("a", 1, x), onAnotherPort(service("b", 1, x))}}, "b"},
		"the one that has a part of what it claims, of claimants that have nothing": {
			[][]any{{service("b", 1, x)}, {service("a", 1, x), service("b", 1, x, y)}}, "b"},
		"the one that has all it claims, before one that wants more than it has": {
			[][]any{{service("a", 1, x), service("b", 1, y)}, {service("a", 1, x, y)}}, "b"},
		"who waited, in order of names, when the holder is younger than it was": {
			[][]any{{service("c", 2, x)}, {service("b", 1, x)}, {service("a", 1, x)}, {service("c", 0, x)}}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, batch := range c.batches {
				w.set(batch...)
			}
			var got []string
			for _, name := range names {
				if w.service(name) != nil {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("in force %v, want %s", got, c.want)
			}
		})
	}
}

// onAnotherPort returns the Service with another port.
func onAnotherPort(s *corev1.Service) *corev1.Service {
	s.Spec.Ports[0].Port++
	return s
}

func TestARejectedServiceHoldsNothing(t *testing.T) {
	// a keeps b out by IPv4; so b must not keep c out by IPv6.
	w := newWorld()
	w.set(service("c", 1, "2001:db8::1"), service("b", 2, "10.96.0.1", "2001:db8::1"), service("a", 3, "10.96.0.1"))
	if w.service("a") == nil || w.service("b") != nil || w.service("c") == nil {
		t.Fatal("want a and c")
	}
	w.deleteService("a")
	if w.service("b") == nil || w.service("c") != nil {
		t.Fatal("want b, and c rejected, when a is gone")
	}
}

func TestAClusterIPMovesToTheNextClaimant(t *testing.T) {
	w := newWorld()
	w.set(service("a", 3, "10.96.0.1"), service("b", 2, "10.96.0.1"), service("c", 1, "10.96.0.1"))
	w.set(service("a", 3, "10.96.0.2"))
	if w.service("a") == nil || w.service("b") == nil || w.service("c") != nil {
		t.Fatal("want a at its new address and b at its old one")
	}
	if got := w.problems("Service default/c"); !strings.Contains(got, "Service default/b") {
		t.Errorf("problem %q names a holder that has left", got)
	}
}

func TestAnUnusableObjectKeepsItsLastGoodState(t *testing.T) {
	w := newWorld()
	good, bad := service("a", 1, "10.96.0.1"), service("a", 1, "10.96.0.1")
	bad.Spec.Ports[0].Port = 0
	w.set(bad)
	if w.service("a") != nil || !strings.Contains(w.problems("Service default/a"), "not in force") {
		t.Fatalf("a bad Service is in force: %s", w.problems("Service default/a"))
	}
	w.set(good)
	w.set(bad)
	if w.service("a") == nil || !strings.Contains(w.problems("Service default/a"), "last good state stays") {
		t.Fatalf("the last good state is lost: %s", w.problems("Service default/a"))
	}
	w.set(service("b", 0, "10.96.0.1"))
	if w.service("b") != nil {
		t.Error("the last good state does not hold its ClusterIP")
	}
	w.set(good)
	if got := w.problems("Service default/a"); got != "" {
		t.Errorf("a problem outlives its cause: %s", got)
	}
	w.deleteService("a")
	if w.service("a") != nil || w.service("b") == nil {
		t.Error("a deleted Service is still there")
	}
}

func TestAnUnusableSliceKeepsItsLastGoodState(t *testing.T) {
	w := newWorld()
	bad := slice("a-1", "a", "10.0.0.9")
	bad.AddressType = "IPv5"
	w.set(service("a", 1, "10.96.0.1"), slice("a-1", "a", "10.0.0.1"))
	w.set(bad)
	if got := w.endpoints("a"); !slices.Equal(got, []string{"10.0.0.1"}) {
		t.Errorf("endpoints %v, want the last good ones", got)
	}
	if w.problems("EndpointSlice default/a-1") == "" {
		t.Error("no problem is recorded")
	}
	w.Update(func(b *admission.Batch) { b.DeleteEndpointSlice(model.ParseKey("a-1")) })
	if got := w.endpoints("a"); got != nil || w.problems("EndpointSlice default/a-1") != "" {
		t.Errorf("endpoints %v after delete: %s", got, w.problems("EndpointSlice default/a-1"))
	}
}

func TestAServiceThatIsNoLongerProxiedIsGone(t *testing.T) {
	w := newWorld()
	w.set(service("a", 1, "10.96.0.1"))
	w.set(service("a", 1, "None"))
	if w.service("a") != nil {
		t.Error("a headless Service is in force")
	}
	w.set(service("b", 0, "10.96.0.1"))
	if w.service("b") == nil {
		t.Error("a headless Service holds a ClusterIP")
	}
}

func TestAnEndpointThatIsAClusterIPIsLeftOut(t *testing.T) {
	w := newWorld()
	w.set(service("a", 1, "10.96.0.1"), slice("a-1", "a", "10.0.0.1", "10.96.0.2"))
	if got := w.endpoints("a"); len(got) != 2 {
		t.Fatalf("endpoints %v before there is such a ClusterIP", got)
	}
	w.set(service("b", 1, "10.96.0.2"))
	if got := w.endpoints("a"); !slices.Equal(got, []string{"10.0.0.1"}) {
		t.Errorf("endpoints %v, want the ClusterIP left out", got)
	}
	if got := w.problems("EndpointSlice default/a-1"); !strings.Contains(got, "Service default/b") || !strings.Contains(got, "10.96.0.2") {
		t.Errorf("problem %q", got)
	}
	w.deleteService("b")
	if got := w.endpoints("a"); len(got) != 2 || w.problems("EndpointSlice default/a-1") != "" {
		t.Errorf("endpoints %v after the ClusterIP is gone: %s", got, w.problems("EndpointSlice default/a-1"))
	}
}

func TestAnOutsideAddressThatIsAClusterIPIsLeftOut(t *testing.T) {
	w := newWorld()
	a := service("a", 1, "10.96.0.1")
	a.Spec.ExternalIPs = []string{"10.96.0.2", "192.0.2.1", "10.96.0.1"}
	a.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.96.0.2"}, {IP: "192.0.2.2"}}
	w.set(a, service("b", 1, "10.96.0.2"))
	got := w.service("a")
	if fmt.Sprint(got.ExternalIPs, got.LoadBalancerIPs) != "[192.0.2.1] [192.0.2.2]" {
		t.Errorf("addresses %v %v", got.ExternalIPs, got.LoadBalancerIPs)
	}
	if n := strings.Count(w.problems("Service default/a"), "is the ClusterIP of"); n != 3 {
		t.Errorf("%d problems, want 3: %s", n, w.problems("Service default/a"))
	}
	w.deleteService("b")
	if got := w.service("a"); fmt.Sprint(got.ExternalIPs, got.LoadBalancerIPs) != "[10.96.0.2 192.0.2.1] [10.96.0.2 192.0.2.2]" {
		t.Errorf("addresses %v %v after the ClusterIP is gone", got.ExternalIPs, got.LoadBalancerIPs)
	}
}

// TestWhatARejectedServiceClaimsBelongsToNobody: neither endpoints nor outside
// addresses are left out for it.
func TestWhatARejectedServiceClaimsBelongsToNobody(t *testing.T) {
	w := newWorld()
	outside := service("c", 1, "10.96.0.3")
	outside.Spec.ExternalIPs = []string{"2001:db8::1", "10.96.0.2"}
	outside.Spec.ClusterIPs, outside.Spec.IPFamilies = append(outside.Spec.ClusterIPs, "2001:db8::3"), append(outside.Spec.IPFamilies, corev1.IPv6Protocol)
	ends := slice("c-1", "c", "2001:db8::1")
	ends.AddressType = discoveryv1.AddressTypeIPv6
	w.set(service("a", 3, "10.96.0.1"), service("b", 2, "10.96.0.1", "2001:db8::1"), outside, ends)
	if got := w.service("c"); len(got.ExternalIPs) != 2 || len(w.endpoints("c")) != 1 {
		t.Errorf("external IPs %v, endpoints %v, want all", got.ExternalIPs, w.endpoints("c"))
	}
	w.set(service("d", 0, "2001:db8::1"))
	if got := w.service("c"); len(got.ExternalIPs) != 1 || len(w.endpoints("c")) != 0 {
		t.Errorf("external IPs %v, endpoints %v, want none that the younger Service in force has", got.ExternalIPs, w.endpoints("c"))
	}
	if got := w.problems("EndpointSlice default/c-1"); !strings.Contains(got, "is the ClusterIP of Service default/d") {
		t.Errorf("problem %q, want the Service in force", got)
	}
}

func TestAnEndpointThatTakesAnothersPlaceIsLookedAtInItsStead(t *testing.T) {
	w := newWorld()
	w.set(service("a", 1, "10.96.0.1"), slice("a-1", "a", "10.0.0.1"))
	w.set(slice("a-1", "a", "10.96.0.2"))
	w.set(service("b", 1, "10.96.0.2"))
	if got := w.endpoints("a"); got != nil {
		t.Errorf("endpoints %v, want the ClusterIP left out", got)
	}
}

func TestLoopProblemsAreBounded(t *testing.T) {
	for _, c := range []struct{ endpoints, lines int }{{9, 9}, {10, 10}, {11, 11}, {1000, 11}} {
		w := newWorld()
		w.set(service("a", 1, "10.96.0.1"), slice("a-1", "a", slices.Repeat([]string{"10.96.0.1"}, c.endpoints)...))
		problems := w.problems("EndpointSlice default/a-1")
		if n := strings.Count(problems, "\n") + 1; n != c.lines || strings.Contains(problems, "more than 10") != (c.endpoints > 10) {
			t.Errorf("%d problems, want %d: 10 and a line for the others\n%s", n, c.lines, problems)
		}
	}
}

func TestNodesAndServiceCIDRs(t *testing.T) {
	w := newWorld()
	cidr := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "k"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12"}}}
	w.set(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, cidr)
	bad := cidr.DeepCopy()
	bad.Spec.CIDRs[0] = "x"
	w.set(bad)
	if w.store.Node("n1") == nil || len(w.store.ServiceCIDRs()) != 1 || !strings.Contains(w.problems("ServiceCIDR k"), "last good state") {
		t.Fatalf("node %v, CIDRs %v, problem %q", w.store.Node("n1"), w.store.ServiceCIDRs(), w.problems("ServiceCIDR k"))
	}
	poor := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "x"}}
	if w.set(poor); w.problems("Node n1") == "" {
		t.Error("a pod CIDR that cannot be read is no problem")
	}
	w.Update(func(b *admission.Batch) { b.DeleteNode("n1"); b.DeleteServiceCIDR("k") })
	if w.store.Node("n1") != nil || len(w.store.ServiceCIDRs()) != 0 || len(w.store.Problems()) != 0 {
		t.Error("deleted objects are still there")
	}
}

func TestAnUnchangedObjectChangesNothing(t *testing.T) {
	w := newWorld()
	w.set(service("a", 1, "10.96.0.1"), slice("a-1", "a", "10.0.0.1"))
	w.store.Take()
	w.set(service("a", 1, "10.96.0.1"), slice("a-1", "a", "10.0.0.1"))
	if changes := w.store.Take(); !changes.Empty() {
		t.Errorf("equal objects changed %v", changes)
	}
	w.set(service("b", 0, "10.96.0.1"))
	if changes := w.store.Take(); !changes.Empty() {
		t.Errorf("a rejected Service changed %v", changes)
	}
}

// ports is demo/web with so many of them.
func ports(n int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}}
	for i := range n {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint(i), Port: int32(i + 1)})
	}
	return s
}

func TestALimitOfZeroIsNone(t *testing.T) {
	store := cluster.NewStore()
	w := world{store, admission.NewWriter(store, hclog.NewNullLogger(), admission.Limits{})}
	if w.set(ports(8000)); w.service("demo/web") == nil {
		t.Errorf("problems %v", w.store.Problems())
	}
}

func TestAServiceBeyondTheLimitKeepsItsLastGoodState(t *testing.T) {
	w := newWorld()
	w.set(ports(admission.DefaultPortsPerService))
	w.set(ports(admission.DefaultPortsPerService + 1))
	if service := w.service("demo/web"); service == nil || len(service.Ports) != admission.DefaultPortsPerService {
		t.Errorf("got %v, want the last good state", service)
	}
	if problems := w.store.Problems(); len(problems) != 1 || !strings.Contains(problems[0].String(), `spec.ports "257 ports": expected at most 256`) {
		t.Errorf("problems %v", problems)
	}
}
