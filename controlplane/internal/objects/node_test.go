package objects_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

func TestNode(t *testing.T) {
	internal := func(a string) corev1.NodeAddress { return corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a} }
	external := func(a string) corev1.NodeAddress { return corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: a} }
	for _, tc := range []struct {
		name     string
		edit     func(*corev1.Node)
		want     model.Node
		problems []string
	}{
		{name: "a bare node", edit: func(*corev1.Node) {}},
		{
			name: "zone and labels",
			edit: func(n *corev1.Node) { n.Labels = map[string]string{corev1.LabelTopologyZone: "z1", "a": "b"} },
			want: model.Node{Zone: "z1", Labels: map[string]string{corev1.LabelTopologyZone: "z1", "a": "b"}},
		},
		{
			name: "the first InternalIP of each family, before any ExternalIP",
			edit: func(n *corev1.Node) {
				n.Status.Addresses = []corev1.NodeAddress{
					{Type: corev1.NodeHostName, Address: "n1"}, external("192.0.2.1"), internal("2001:db8::1"), internal("10.0.0.1"), internal("10.0.0.2"),
				}
			},
			want: model.Node{IPs: addrs("2001:db8::1", "10.0.0.1")},
		},
		{
			name: "an ExternalIP for a family without InternalIP",
			edit: func(n *corev1.Node) {
				n.Status.Addresses = []corev1.NodeAddress{external("2001:db8::1"), external("192.0.2.1"), internal("10.0.0.1")}
			},
			want: model.Node{IPs: addrs("10.0.0.1", "2001:db8::1")},
		},
		{
			name:     "an address that does not parse is skipped",
			edit:     func(n *corev1.Node) { n.Status.Addresses = []corev1.NodeAddress{internal("x"), internal("10.0.0.1")} },
			want:     model.Node{IPs: addrs("10.0.0.1")},
			problems: []string{"status.addresses[0].address"},
		},
		{
			name: "an IPv4 address in IPv6 form is one of IPv4",
			edit: func(n *corev1.Node) {
				n.Status.Addresses = []corev1.NodeAddress{internal("::ffff:10.0.0.1"), internal("10.0.0.2"), internal("2001:db8::1")}
			},
			want: model.Node{IPs: addrs("10.0.0.1", "2001:db8::1")},
		},
		{
			name: "a Node that is being deleted is no target of load balancers",
			edit: func(n *corev1.Node) { n.DeletionTimestamp = ptr(metav1.Now()) },
			want: model.Node{Ineligible: "the Node is being deleted"},
		},
		{
			name: "nor is one that the cluster autoscaler is about to remove",
			edit: func(n *corev1.Node) {
				n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "x"}, {Key: "ToBeDeletedByClusterAutoscaler", Value: "1"}}
			},
			want: model.Node{Ineligible: "the Node has the taint ToBeDeletedByClusterAutoscaler"},
		},
		{
			name: "another taint says nothing about load balancers",
			edit: func(n *corev1.Node) {
				n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "ToBeDeletedByClusterAutoscaler"}}
			},
		},
		{
			name: "podCIDRs before podCIDR",
			edit: func(n *corev1.Node) {
				n.Spec.PodCIDR, n.Spec.PodCIDRs = "10.1.0.0/24", []string{"10.2.0.1/24", "2001:db8::/64"}
			},
			want: model.Node{PodCIDRs: prefixes("10.2.0.0/24", "2001:db8::/64")},
		},
		{
			name: "podCIDR alone",
			edit: func(n *corev1.Node) { n.Spec.PodCIDR = "10.1.0.0/24" },
			want: model.Node{PodCIDRs: prefixes("10.1.0.0/24")},
		},
		{
			name:     "a pod CIDR that does not parse is skipped",
			edit:     func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.1.0.0", "10.2.0.0/24"} },
			want:     model.Node{PodCIDRs: prefixes("10.2.0.0/24")},
			problems: []string{"spec.podCIDRs[0]"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
			tc.edit(in)
			tc.want.Name = "n1"
			got, problems, err := objects.Node(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tc.want, got, compareAddrs); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			checkProblems(t, problems, "Node n1", tc.problems)
		})
	}
}

func TestServiceCIDR(t *testing.T) {
	in := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12", "2001:db8::/108"}},
	}
	got, problems, err := objects.ServiceCIDR(in)
	want := &model.ServiceCIDR{Name: "kubernetes", CIDRs: prefixes("10.96.0.0/12", "2001:db8::/108")}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" || problems != nil || err != nil {
		t.Errorf("%v %v, -want +got:\n%s", problems, err, diff)
	}
	in.Spec.CIDRs[1] = "2001:db8::"
	var refused *objects.Error
	if _, _, err := objects.ServiceCIDR(in); !errors.As(err, &refused) || refused.Problems[0].Field != "spec.cidrs[1]" {
		t.Errorf("error %v, want an *Error at spec.cidrs[1]", err)
	}
}
