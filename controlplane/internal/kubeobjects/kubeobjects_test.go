package kubeobjects

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// draw fills in what package objects can have read.
type draw struct{ *rapid.T }

func (d draw) yes(label string) bool      { return rapid.Bool().Draw(d.T, label) }
func (d draw) number(label string) uint16 { return rapid.Uint16Min(1).Draw(d.T, label) }
func (d draw) policy(label string) model.TrafficPolicy {
	return rapid.SampledFrom([]model.TrafficPolicy{model.Cluster, model.Local}).Draw(d.T, label)
}

func some[T any](d draw, label string, values ...T) []T {
	var list []T
	for _, v := range values {
		if d.yes(label) {
			list = append(list, v)
		}
	}
	return list
}

func (d draw) service() *model.Service {
	s := &model.Service{
		Key: model.Key{Namespace: "demo", Name: "web"}, Created: time.Unix(1_700_000_000, 0).UTC(),
		ClusterIPs: some(d, "cluster IP", netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")),
		Internal:   d.policy("internal"), External: model.Cluster,
	}
	if len(s.ClusterIPs) == 0 {
		s.ClusterIPs = []netip.Addr{netip.MustParseAddr("10.96.0.1")}
	}
	v4, v6 := s.HasFamily(false), s.HasFamily(true)
	if v4 {
		s.ExternalIPs = some(d, "external IP", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
		s.LoadBalancerIPs = some(d, "balancer", netip.MustParseAddr("192.0.2.3"))
	}
	if v6 {
		s.LoadBalancerIPs = append(s.LoadBalancerIPs, some(d, "balancer", netip.MustParseAddr("2001:db8::3"))...)
	}
	nodePorts := d.yes("node ports")
	for _, p := range some(d, "port", model.Port{Name: "a", Protocol: model.TCP, Port: 80}, model.Port{Name: "b", Protocol: model.UDP, Port: 80}, model.Port{Name: "", Protocol: model.SCTP, Port: 9}) {
		if nodePorts {
			p.NodePort = d.number("node port")
		}
		s.Ports = append(s.Ports, p)
	}
	if len(s.Ports) > 0 && nodePorts || len(s.ExternalIPs)+len(s.LoadBalancerIPs) > 0 {
		s.External = d.policy("external")
	}
	if len(s.LoadBalancerIPs) > 0 && s.External == model.Local && d.yes("health check") {
		s.HealthCheckNodePort = d.number("health check")
	}
	if d.yes("affinity") {
		s.AffinityTimeout = time.Duration(d.number("affinity")) * time.Second
	}
	s.Scheduler = rapid.SampledFrom([]string{"", "mh"}).Draw(d.T, "scheduler")
	if d.yes("weights") {
		s.Weights = &model.Weights{
			Addresses: map[netip.Addr]uint16{netip.MustParseAddr("10.244.1.1"): d.number("weight"), netip.MustParseAddr("fd00::1"): 0},
			Pods:      map[string]uint16{"web-0": d.number("weight")}, Nodes: map[string]uint16{"node-a": d.number("weight")},
		}
	}
	s.SourceRanges = some(d, "range", netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"))
	return s
}

func (d draw) slice() *model.Slice {
	s := &model.Slice{
		Key: model.Key{Namespace: "demo", Name: "web-1"}, Service: "web",
		Ports: some(d, "port", model.SlicePort{Name: "", Protocol: model.TCP, Port: 8080}, model.SlicePort{Name: "a", Protocol: model.UDP, Port: 53}),
	}
	for _, addr := range some(d, "endpoint", "10.244.1.1", "10.244.1.2") {
		s.Endpoints = append(s.Endpoints, model.Endpoint{
			Addr: netip.MustParseAddr(addr), Node: rapid.SampledFrom([]string{"", "node-a"}).Draw(d.T, "node"), Zone: rapid.SampledFrom([]string{"", "z"}).Draw(d.T, "zone"),
			Pod:   rapid.SampledFrom([]string{"", "web-0"}).Draw(d.T, "pod"),
			Ready: d.yes("ready"), Serving: d.yes("serving"), Terminating: d.yes("terminating"),
			ZoneHints: some(d, "zone hint", "z", "y"), NodeHints: some(d, "node hint", "node-a"),
		})
	}
	return s
}

// TestWhatIsTurnedBackReadsTheSame: nothing that decides about traffic is lost.
func TestWhatIsTurnedBackReadsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw{t}
		service := d.service()
		object := Service(service)
		again, problems, err := objects.Service(&object)
		if diff := cmp.Diff(service, again, compare); diff != "" || err != nil || len(problems) > 0 {
			t.Fatalf("Service: error %v, problems %v (-before +after)\n%s", err, problems, diff)
		}
		slice := d.slice()
		sliceObject := Slice(slice)
		sliceAgain, problems, err := objects.Slice(&sliceObject)
		if diff := cmp.Diff(slice, sliceAgain, compare); diff != "" || err != nil || len(problems) > 0 {
			t.Fatalf("EndpointSlice: error %v, problems %v (-before +after)\n%s", err, problems, diff)
		}
	})
}

func TestNodesAndServiceCIDRsReadTheSame(t *testing.T) {
	node := &model.Node{Name: "node-a", Zone: "z", Labels: map[string]string{"topology.kubernetes.io/zone": "z", "x": "y"},
		IPs: []netip.Addr{netip.MustParseAddr("fd00::2"), netip.MustParseAddr("192.168.0.2")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}}
	object := Node(node)
	if again, _, err := objects.Node(&object); err != nil || cmp.Diff(node, again, compare) != "" {
		t.Errorf("Node: error %v\n%s", err, cmp.Diff(node, again, compare))
	}
	cidr := &model.ServiceCIDR{Name: "k", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:96::/112")}}
	cidrObject := ServiceCIDR(cidr)
	if again, _, err := objects.ServiceCIDR(&cidrObject); err != nil || cmp.Diff(cidr, again, compare) != "" {
		t.Errorf("ServiceCIDR: error %v\n%s", err, cmp.Diff(cidr, again, compare))
	}
}
