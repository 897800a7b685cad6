package kube

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/randfill"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func newSink() (*cluster.Store, *sink[*corev1.Service]) {
	store := cluster.NewStore()
	s := newSource(nil, Config{ClusterID: "c1", Logger: hclog.NewNullLogger(), Writer: admission.NewWriter(store, hclog.NewNullLogger(), admission.DefaultLimits())})
	s.waiting = 1
	return store, &sink[*corev1.Service]{
		source:  s,
		set:     (*admission.Batch).SetService,
		remove:  (*admission.Batch).DeleteService,
		version: func(v *model.SourceVersion) *uint64 { return &v.Services },
		known:   map[model.Key]struct{}{},
	}
}

func has(store *cluster.Store, name string) bool {
	s, _ := store.Service(model.Key{Namespace: "demo", Name: name})
	return s != nil
}

func TestAListIsOneUpdate(t *testing.T) {
	store, s := newSink()
	if err := s.Replace([]any{service("a", "1"), service("b", "2")}, "9"); err != nil {
		t.Fatal(err)
	}
	changes := store.Take()
	if len(changes.Services) != 2 || !changes.Synced || changes.Version.Services != 9 {
		t.Errorf("changes %+v", changes)
	}
	if err := s.Add(service("c", "10")); err != nil {
		t.Fatal(err)
	}
	// A list after an interruption: a is gone and d is new.
	if err := s.Replace([]any{service("b", "2"), service("c", "10"), service("d", "11")}, "12"); err != nil {
		t.Fatal(err)
	}
	if has(store, "a") || !has(store, "b") || !has(store, "c") || !has(store, "d") {
		t.Error("want b, c and d")
	}
	if changes := store.Take(); changes.Version.Services != 12 {
		t.Errorf("version %+v", changes.Version)
	}
}

func TestEventsAdvanceTheVersion(t *testing.T) {
	store, s := newSink()
	for _, step := range []struct {
		do   func() error
		want uint64
	}{
		{func() error { return s.Add(service("a", "1")) }, 1},
		{func() error { return s.Update(service("a", "3")) }, 3},
		{func() error { return s.Delete(service("a", "4")) }, 4},
		{func() error { s.UpdateResourceVersion("7"); return nil }, 7},
		{func() error { s.UpdateResourceVersion("opaque"); return nil }, 7},
		{s.Resync, 7},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := store.Take().Version; got.Services != step.want || got.Source != "kubernetes/c1" {
			t.Errorf("version %+v, want Services %d", got, step.want)
		}
	}
	if s.Add(&corev1.Node{}) == nil || s.Delete(&corev1.Node{}) == nil {
		t.Error("a Node is taken for a Service")
	}
}

// TestStripDropsNothingThatIsRead fills objects at random: they must read the
// same before and after.
func TestStripDropsNothingThatIsRead(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.2).NumElements(0, 3).Funcs(
		func(m *metav1.ObjectMeta, c randfill.Continue) {
			c.FillNoCustom(m)
			m.CreationTimestamp = metav1.Unix(int64(c.Uint32()), 0)
			m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
			m.Labels = map[string]string{"app": "x", corev1.LabelTopologyZone: "z"}
			for _, label := range []string{objects.LabelProxyName, objects.LabelHeadless} {
				if c.Uint32()%4 == 0 {
					m.Labels[label] = ""
				}
			}
			if c.Uint32()%4 != 0 {
				m.Labels[discoveryv1.LabelServiceName] = "web"
			}
			m.Annotations = map[string]string{objects.AnnotationScheduler: "rr", objects.AnnotationWeights: "pod/a=3,192.0.2.1=0", objects.AnnotationTriggered: "2026-03-01T12:00:00Z", "big": "x"}
		},
		func(s *corev1.ServiceSpec, c randfill.Continue) {
			c.FillNoCustom(s)
			*s = corev1.ServiceSpec{
				Selector: s.Selector, ClusterIP: "10.96.0.1", ExternalIPs: []string{"192.0.2.1", "x"}, LoadBalancerSourceRanges: []string{"10.0.0.0/8"},
				Ports: []corev1.ServicePort{{Port: 80, NodePort: 30080}}, Type: corev1.ServiceTypeLoadBalancer, HealthCheckNodePort: 31000,
				ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, SessionAffinity: corev1.ServiceAffinityClientIP,
			}
		},
		func(i *corev1.LoadBalancerIngress, _ randfill.Continue) {
			*i = corev1.LoadBalancerIngress{IP: "192.0.2.2"}
		},
		func(e *discoveryv1.Endpoint, c randfill.Continue) {
			c.FillNoCustom(e)
			e.Addresses = []string{"10.0.0.1", "10.0.0.2"}
			if e.TargetRef != nil && c.Uint32()%2 == 0 {
				e.TargetRef.Kind = "Pod"
			}
		},
		func(p *discoveryv1.EndpointPort, _ randfill.Continue) { *p = discoveryv1.EndpointPort{} },
		func(a *discoveryv1.AddressType, _ randfill.Continue) { *a = discoveryv1.AddressTypeIPv4 },
		func(a *corev1.NodeAddress, _ randfill.Continue) {
			*a = corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}
		},
		func(s *networkingv1.ServiceCIDRSpec, _ randfill.Continue) { s.CIDRs = []string{"10.96.0.0/12"} },
	)
	read := func(object any) []any {
		var value, problems, err any
		switch o := object.(type) {
		case *corev1.Service:
			value, problems, err = first3(objects.Service(o))
		case *discoveryv1.EndpointSlice:
			value, problems, err = first3(objects.Slice(o))
		case *corev1.Node:
			value, problems, err = first3(objects.Node(o))
		case *networkingv1.ServiceCIDR:
			value, problems, err = first3(objects.ServiceCIDR(o))
		}
		return []any{value, problems, err}
	}
	for range 200 {
		for _, object := range []metav1.Object{&corev1.Service{}, &discoveryv1.EndpointSlice{}, &corev1.Node{}, &networkingv1.ServiceCIDR{}} {
			fill.Fill(object)
			before := read(object)
			stripped, err := strip(object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, read(stripped), compareAddrs); diff != "" {
				t.Fatalf("%T: -before +after:\n%s", object, diff)
			}
			if o := stripped.(metav1.Object); o.GetManagedFields() != nil || o.GetAnnotations()["big"] != "" {
				t.Errorf("%T is not stripped: %v %v", object, o.GetManagedFields(), o.GetAnnotations())
			}
		}
	}
}

func first3[V any](value V, problems []model.Problem, err error) (any, any, any) {
	return value, problems, err
}
