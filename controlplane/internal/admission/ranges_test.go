package admission_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
)

func serviceCIDR(name string, cidrs ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
}

// outsider has addresses inside and outside of 10.96.0.0/12.
func outsider() *corev1.Service {
	s := service("a", 1, "10.96.0.1")
	s.Spec.ExternalIPs = []string{"nonsense", "10.96.0.77", "192.0.2.1"}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.2"}, {IP: "10.97.0.1"}}
	return s
}

func TestAnOutsideAddressInAServiceCIDRIsLeftOut(t *testing.T) {
	cidr := serviceCIDR("kubernetes", "10.96.0.0/12")
	for name, order := range map[string][]any{"the Service first": {outsider(), cidr}, "the ServiceCIDR first": {cidr, outsider()}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, o := range order {
				w.set(o)
			}
			if got := w.service("a"); fmt.Sprint(got.ExternalIPs, got.LoadBalancerIPs) != "[192.0.2.1] [192.0.2.2]" {
				t.Errorf("addresses %v %v", got.ExternalIPs, got.LoadBalancerIPs)
			}
			for _, want := range []string{
				`spec.externalIPs[1] "10.96.0.77": lies in ServiceCIDR kubernetes (10.96.0.0/12), where only ClusterIPs are; the entry is ignored`,
				`status.loadBalancer.ingress[1].ip "10.97.0.1": lies in ServiceCIDR kubernetes`,
			} {
				if got := w.problems("Service default/a"); !strings.Contains(got, want) {
					t.Errorf("problems\n%s\nlack %q", got, want)
				}
			}
		})
	}
}

// TestOfSeveralServiceCIDRsTheFirstByNameIsNamed: replicas and restarts agree.
func TestOfSeveralServiceCIDRsTheFirstByNameIsNamed(t *testing.T) {
	w := newWorld()
	w.set(outsider(), serviceCIDR("c", "10.0.0.0/8"), serviceCIDR("a", "10.96.0.0/12"), serviceCIDR("b", "10.96.0.0/16"))
	if got := w.problems("Service default/a"); strings.Count(got, "lies in ServiceCIDR a (10.96.0.0/12)") != 2 {
		t.Errorf("problems\n%s\nwant ServiceCIDR a in both", got)
	}
}

func TestOutsideAddressesFollowTheServiceCIDRs(t *testing.T) {
	w := newWorld()
	w.set(outsider())
	for _, step := range []struct {
		what   string
		change func(b *admission.Batch)
		want   string
	}{
		{"no ServiceCIDR", func(*admission.Batch) {}, "[10.96.0.77 192.0.2.1] [192.0.2.2 10.97.0.1]"},
		{"another range", func(b *admission.Batch) { b.SetServiceCIDR(serviceCIDR("k", "172.16.0.0/16")) }, "[10.96.0.77 192.0.2.1] [192.0.2.2 10.97.0.1]"},
		{"it moves", func(b *admission.Batch) { b.SetServiceCIDR(serviceCIDR("k", "10.96.0.0/16")) }, "[192.0.2.1] [192.0.2.2 10.97.0.1]"},
		{"one that cannot be used", func(b *admission.Batch) { b.SetServiceCIDR(serviceCIDR("k", "nonsense")) }, "[192.0.2.1] [192.0.2.2 10.97.0.1]"},
		{"a second", func(b *admission.Batch) { b.SetServiceCIDR(serviceCIDR("l", "10.96.0.0/12")) }, "[192.0.2.1] [192.0.2.2]"},
		{"the first is gone", func(b *admission.Batch) { b.DeleteServiceCIDR("k") }, "[192.0.2.1] [192.0.2.2]"},
		{"both are gone", func(b *admission.Batch) { b.DeleteServiceCIDR("l") }, "[10.96.0.77 192.0.2.1] [192.0.2.2 10.97.0.1]"},
	} {
		w.Update(step.change)
		got := w.service("a")
		if text := fmt.Sprint(got.ExternalIPs, got.LoadBalancerIPs); text != step.want {
			t.Errorf("%s: addresses %s, want %s", step.what, text, step.want)
		}
		if problems := w.problems("Service default/a"); strings.Contains(problems, "lies in") != (step.want[1] != '1' || step.want[2] != '0') {
			t.Errorf("%s: problems %q", step.what, problems)
		}
	}
}

// TestAServiceCIDRTouchesOnlyServicesWithAddressesInIt: all others are not even
// looked at.
func TestAServiceCIDRTouchesOnlyServicesWithAddressesInIt(t *testing.T) {
	w := newWorld()
	other := service("b", 1, "10.96.0.2")
	other.Spec.ExternalIPs = []string{"192.0.2.9"}
	w.set(outsider(), other, service("c", 1, "10.96.0.3"))
	w.store.Take()
	w.set(serviceCIDR("kubernetes", "10.96.0.0/12"))
	if changes := w.store.Take(); len(changes.Services) != 1 {
		t.Errorf("changed %v, want default/a", changes.Services)
	}
}
