package compile

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

func web(change func(*model.Service)) *model.Service {
	service := &model.Service{
		Key: model.Key{Namespace: "demo", Name: "web"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		Ports: []model.Port{{Name: "http", Protocol: model.TCP, Port: 80}}, Internal: model.Cluster, External: model.Cluster,
	}
	if change != nil {
		change(service)
	}
	return service
}

func slice(name string, endpoints ...model.Endpoint) *model.Slice {
	return &model.Slice{
		Key: model.Key{Namespace: "demo", Name: name}, Service: "web",
		Ports: []model.SlicePort{{Name: "http", Protocol: model.TCP, Port: 8080}}, Endpoints: endpoints,
	}
}

func ready(address, node string, zoneHints ...string) model.Endpoint {
	return model.Endpoint{Addr: netip.MustParseAddr(address), Node: node, Ready: true, Serving: true, ZoneHints: zoneHints}
}

// show lists resources as "scope Kind name: port=endpoints", endpoints in order.
func show(resources []snapshot.Scoped) []string {
	var list []string
	for _, r := range resources {
		scope := "shared"
		if r.Scope.Zone != "" {
			scope = "zone " + r.Scope.Zone
		}
		if r.Scope.Node != "" {
			scope = "node " + r.Scope.Node
		}
		line := scope + " " + resource.KindName(resource.KindOf(r.Resource)) + " " + r.Resource.GetName() + ":"
		line += showGroups("", r.Resource.GetEndpointSet().GetGroups())
		line += showGroups("local ", r.Resource.GetLocalEndpoints().GetLocal())
		line += showGroups("preferred ", r.Resource.GetLocalEndpoints().GetPreferred())
		list = append(list, line)
	}
	return list
}

func showGroups(label string, groups []*discoveryv1.EndpointGroup) string {
	var b strings.Builder
	for _, g := range groups {
		b.WriteString(" " + label)
		for i, p := range g.GetPorts() {
			if i > 0 {
				b.WriteString("+")
			}
			b.WriteString(p.GetName())
		}
		b.WriteString("=")
		for i, e := range g.GetEndpoints() {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(e.GetAddress())
			switch e.GetState() {
			case discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED:
			case discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING:
				b.WriteString("(terminating)")
			case discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING:
				b.WriteString("(draining)")
			}
		}
	}
	return b.String()
}

func TestService(t *testing.T) {
	noded := func(e model.Endpoint, nodes ...string) model.Endpoint {
		e.NodeHints = nodes
		return e
	}
	terminating := func(address, node string) model.Endpoint {
		return model.Endpoint{Addr: netip.MustParseAddr(address), Node: node, Serving: true, Terminating: true}
	}
	unready := func(address, node string, serving bool) model.Endpoint {
		return model.Endpoint{Addr: netip.MustParseAddr(address), Node: node, Serving: serving}
	}
	udp := func(s *model.Slice) *model.Slice {
		s.Ports[0].Protocol = model.UDP
		return s
	}
	twoPorts := web(func(s *model.Service) {
		s.Ports = append(s.Ports, model.Port{Name: "metrics", Protocol: model.TCP, Port: 9090})
	})
	with := func(s *model.Slice, names ...string) *model.Slice {
		s.Ports = nil
		for i, name := range names {
			s.Ports = append(s.Ports, model.SlicePort{Name: name, Protocol: model.TCP, Port: uint16(8080 + i)})
		}
		return s
	}
	tests := map[string]struct {
		service *model.Service
		slices  []*model.Slice
		want    []string
	}{
		"a Service that is gone has no resources": {nil, []*model.Slice{slice("s1", ready("10.0.0.1", "a"))}, nil},
		"a Service without endpoints":             {web(nil), nil, []string{"shared Service demo/web:"}},
		"endpoints are ordered by address, whatever the slice's order": {web(nil),
			[]*model.Slice{slice("s1", ready("10.0.0.9", "a"), ready("10.0.0.10", "a"))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.9,10.0.0.10", "node a LocalEndpoints demo/web: local http=10.0.0.9,10.0.0.10", "shared Service demo/web:"}},
		"zones get a variant where they differ, and an empty one where nothing is left": {web(nil),
			[]*model.Slice{slice("s1", ready("10.0.0.1", "", "z1"), ready("10.0.0.2", "", "z1", "z2")), slice("s2", ready("10.0.0.3", "", "z1"))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1,10.0.0.2", "shared EndpointSet demo/s2: http=10.0.0.3",
				"zone z2 EndpointSet demo/s1: http=10.0.0.2", "zone z2 EndpointSet demo/s2:", "shared Service demo/web:"}},
		"a preferred node gets its own list": {web(nil),
			[]*model.Slice{slice("s1", noded(ready("10.0.0.1", "a"), "a", "b"), noded(ready("10.0.0.2", "c"), "c"))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1,10.0.0.2",
				"node a LocalEndpoints demo/web: local http=10.0.0.1 preferred http=10.0.0.1",
				"node b LocalEndpoints demo/web: preferred http=10.0.0.1",
				"node c LocalEndpoints demo/web: local http=10.0.0.2 preferred http=10.0.0.2", "shared Service demo/web:"}},
		"the terminating fallback is decided port by port": {twoPorts,
			[]*model.Slice{with(slice("s1", ready("10.0.0.1", "")), "http"), with(slice("s2", terminating("10.0.0.2", "")), "http", "metrics")},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1", "shared EndpointSet demo/s2: metrics=10.0.0.2(terminating)", "shared Service demo/web:"}},
		"ports with equal endpoints share a group": {twoPorts,
			[]*model.Slice{with(slice("s1", ready("10.0.0.1", "")), "http", "metrics")},
			[]string{"shared EndpointSet demo/s1: http+metrics=10.0.0.1", "shared Service demo/web:"}},
		"a port that the Service does not have does not travel": {web(nil),
			[]*model.Slice{with(slice("s1", ready("10.0.0.1", "")), "http", "debug")},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1", "shared Service demo/web:"}},
		"of duplicates the one that is not terminating decides, in the slice where it is": {web(nil),
			[]*model.Slice{slice("s1", terminating("10.0.0.1", "a")), slice("s2", ready("10.0.0.1", "a"))},
			[]string{"shared EndpointSet demo/s2: http=10.0.0.1", "node a LocalEndpoints demo/web: local http=10.0.0.1", "shared Service demo/web:"}},
		"UDP ports are told of endpoints that drain, TCP ports are not": {
			web(func(s *model.Service) {
				s.Ports = append(s.Ports, model.Port{Name: "dns", Protocol: model.UDP, Port: 53})
			}),
			[]*model.Slice{func() *model.Slice {
				s := slice("s1", ready("10.0.0.1", ""), terminating("10.0.0.2", ""), model.Endpoint{Addr: netip.MustParseAddr("10.0.0.3")})
				s.Ports = append(s.Ports, model.SlicePort{Name: "dns", Protocol: model.UDP, Port: 5353})
				return s
			}()},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1 dns=10.0.0.1,10.0.0.2(draining)", "shared Service demo/web:"}},
		"whoever is not chosen but serves drains, ready or not, terminating or not": {
			web(func(s *model.Service) { s.Ports[0].Protocol = model.UDP }),
			[]*model.Slice{udp(slice("s1", ready("10.0.0.1", ""), unready("10.0.0.2", "", true), terminating("10.0.0.3", ""),
				model.Endpoint{Addr: netip.MustParseAddr("10.0.0.4"), Terminating: true}))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1,10.0.0.2(draining),10.0.0.3(draining)", "shared Service demo/web:"}},
		"a node's own lists have no endpoints that drain": {
			web(func(s *model.Service) { s.Ports[0].Protocol = model.UDP }),
			[]*model.Slice{udp(slice("s1", noded(ready("10.0.0.1", "a"), "a"), terminating("10.0.0.2", "a"), unready("10.0.0.3", "a", true)))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1,10.0.0.2(draining),10.0.0.3(draining)",
				"node a LocalEndpoints demo/web: local http=10.0.0.1 preferred http=10.0.0.1", "shared Service demo/web:"}},
		"a zone's ports are its own even if their endpoints are those of all zones": {twoPorts,
			[]*model.Slice{with(slice("s1", ready("10.0.0.1", "", "z1")), "http", "metrics"), with(slice("s2", ready("10.0.0.2", "", "z2")), "http")},
			[]string{"shared EndpointSet demo/s1: http+metrics=10.0.0.1", "shared EndpointSet demo/s2: http=10.0.0.2",
				"zone z1 EndpointSet demo/s2:", "zone z2 EndpointSet demo/s1: metrics=10.0.0.1", "shared Service demo/web:"}},
		"a zone hint without a name is no zone's": {web(nil),
			[]*model.Slice{slice("s1", ready("10.0.0.1", "", ""), ready("10.0.0.2", "", "z1"))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1,10.0.0.2", "zone z1 EndpointSet demo/s1: http=10.0.0.2", "shared Service demo/web:"}},
		"a port is matched by protocol too": {web(nil), []*model.Slice{udp(slice("s1", ready("10.0.0.1", "a")))}, []string{"shared Service demo/web:"}},
		"a duplicate counts once": {web(nil),
			[]*model.Slice{slice("s1", ready("10.0.0.1", "a"), ready("10.0.0.1", "a")), slice("s2", ready("10.0.0.1", "a"))},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1", "node a LocalEndpoints demo/web: local http=10.0.0.1", "shared Service demo/web:"}},
		"the same address on two ports is no duplicate": {web(nil),
			[]*model.Slice{slice("s1", ready("10.0.0.1", "")), func() *model.Slice {
				s := slice("s2", ready("10.0.0.1", ""))
				s.Ports[0].Port = 9090
				return s
			}()},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1", "shared EndpointSet demo/s2: http=10.0.0.1", "shared Service demo/web:"}},
		"of duplicates that are alike in terminating one that is ready decides": {web(nil),
			[]*model.Slice{slice("s1", unready("10.0.0.1", "a", true)), slice("s2", ready("10.0.0.1", "a"))},
			[]string{"shared EndpointSet demo/s2: http=10.0.0.1", "node a LocalEndpoints demo/web: local http=10.0.0.1", "shared Service demo/web:"}},
		"of duplicates that are terminating one that serves decides": {web(nil),
			[]*model.Slice{slice("s1", model.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Node: "a", Terminating: true}), slice("s2", terminating("10.0.0.1", "a"))},
			[]string{"shared EndpointSet demo/s2: http=10.0.0.1(terminating)", "node a LocalEndpoints demo/web: local http=10.0.0.1(terminating)", "shared Service demo/web:"}},
		"each family has its own endpoints": {
			web(func(s *model.Service) { s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr("fd00:96::1")) }),
			[]*model.Slice{slice("s1", ready("10.0.0.1", "a")), func() *model.Slice {
				s := slice("s6", ready("fd00::1", "b"))
				s.Is6 = true
				return s
			}()},
			[]string{"shared EndpointSet demo/s1: http=10.0.0.1", "shared EndpointSet demo/s6: http=fd00::1",
				"node a LocalEndpoints demo/web: local http=10.0.0.1", "node b LocalEndpoints demo/web: local http=fd00::1", "shared Service demo/web:"}},
		"slices of a family that the Service does not have do not travel": {web(nil),
			[]*model.Slice{{Key: model.Key{Namespace: "demo", Name: "s6"}, Service: "web", Is6: true,
				Ports: []model.SlicePort{{Name: "http", Protocol: model.TCP, Port: 80}}, Endpoints: []model.Endpoint{ready("fd00::1", "a")}}},
			[]string{"shared Service demo/web:"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, show(Service(test.service, test.slices))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestTheTriggerTimeGoesWithTheEndpoints: with those of its slice in every zone, and
// with nothing else.
func TestTheTriggerTimeGoesWithTheEndpoints(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)
	timed := slice("s1", ready("10.0.0.1", "a", "z1"), ready("10.0.0.2", "b", "z2"))
	timed.Triggered = at
	for _, r := range Service(web(nil), []*model.Slice{timed, slice("s2", ready("10.0.0.3", "a", "z1"))}) {
		got := r.Resource.GetLastChangeTriggerTime()
		if of := r.Resource.GetEndpointSet() != nil && r.Resource.GetName() == "demo/s1"; of != (got != nil) || of && !got.AsTime().Equal(at) {
			t.Errorf("%s %s of scope %+v was triggered at %v", resource.KindName(resource.KindOf(r.Resource)), r.Resource.GetName(), r.Scope, got)
		}
	}
}

func TestServiceBody(t *testing.T) {
	service := web(func(s *model.Service) {
		s.Created = time.Unix(77, 0)
		s.ExternalIPs = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
		s.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("198.51.100.2")}
		s.Ports[0].NodePort, s.External, s.AffinityTimeout, s.HealthCheckNodePort, s.Scheduler = 30080, model.Local, time.Hour, 32000, "rr"
		s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	})
	var want discoveryv1.Service
	if err := prototext.Unmarshal([]byte(`
		cluster_ips: "10.96.0.1" external_ips: "198.51.100.1" load_balancer_ips: "198.51.100.2"
		ports { name: "http" protocol: PROTOCOL_TCP port: 80 node_port: 30080 }
		internal_traffic_policy: TRAFFIC_POLICY_CLUSTER external_traffic_policy: TRAFFIC_POLICY_LOCAL
		session_affinity_timeout { seconds: 3600 } load_balancer_source_ranges: "203.0.113.0/24"
		health_check_node_port: 32000 scheduler: "rr" created: 77`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, serviceBody(service), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestOrderDoesNotMatter shuffles slices' endpoints: the resources must be equal
// byte for byte, or a re-list would be written to every node.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var endpoints []model.Endpoint
		for _, i := range rapid.SliceOfN(rapid.IntRange(1, 6), 0, 8).Draw(t, "endpoints") {
			endpoints = append(endpoints, model.Endpoint{
				Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Node: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "node"),
				Ready: rapid.Bool().Draw(t, "ready"), Serving: rapid.Bool().Draw(t, "serving"), Terminating: rapid.Bool().Draw(t, "terminating"),
				ZoneHints: rapid.SampledFrom([][]string{nil, {"z1"}, {"z1", "z2"}}).Draw(t, "zones"),
			})
		}
		// Duplicates that differ in more than conditions have no one truth to agree on.
		seen := map[netip.Addr]bool{}
		endpoints = slices.DeleteFunc(endpoints, func(e model.Endpoint) bool {
			was := seen[e.Addr]
			seen[e.Addr] = true
			return was
		})
		want := show(Service(web(nil), []*model.Slice{slice("s1", endpoints...)}))
		got := show(Service(web(nil), []*model.Slice{slice("s1", rapid.Permutation(endpoints).Draw(t, "order")...)}))
		if !slices.Equal(want, got) {
			t.Fatalf("%v\n%v", want, got)
		}
	})
}

func TestNode(t *testing.T) {
	node := &model.Node{Name: "a", Zone: "z1", IPs: []netip.Addr{netip.MustParseAddr("192.168.0.2")},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}}
	tests := map[string]struct {
		change func(*Settings)
		mode   discoveryv1.DetectLocalMode
		cidrs  []string
	}{
		"by default the Node's pod CIDRs tell pods": {func(*Settings) {}, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR, []string{"10.244.1.0/24"}},
		"cluster CIDRs": {func(s *Settings) {
			s.DetectLocal = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR
			s.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
		}, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR, []string{"10.244.0.0/16"}},
		"a CIDR mode without CIDRs is none": {func(s *Settings) {
			s.DetectLocal = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR
		}, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_UNSPECIFIED, nil},
		"an interface": {func(s *Settings) {
			s.DetectLocal, s.Interface = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, "cni0"
		}, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			settings := DefaultSettings()
			test.change(&settings)
			resources := Node(node, settings)
			config := resources[0].Resource.GetNodeConfig()
			if resources[0].Scope.Node != "a" || config.GetZone() != "z1" || !slices.Equal(config.GetNodeIps(), []string{"192.168.0.2"}) {
				t.Errorf("got %v", resources)
			}
			if config.GetDetectLocal().GetMode() != test.mode || !slices.Equal(config.GetDetectLocal().GetCidrs(), test.cidrs) {
				t.Errorf("detector %v, want %v %v", config.GetDetectLocal(), test.mode, test.cidrs)
			}
		})
	}
	if Node(nil, DefaultSettings()) != nil {
		t.Error("a Node that is gone has a configuration")
	}
}

func TestClusterUnitesAllServiceCIDRs(t *testing.T) {
	prefix := netip.MustParsePrefix
	got := Cluster([]*model.ServiceCIDR{{Name: "b", CIDRs: []netip.Prefix{prefix("10.98.0.0/16"), prefix("10.97.0.0/16")}}, {Name: "a", CIDRs: []netip.Prefix{prefix("10.96.0.0/16"), prefix("10.97.0.0/16")}}})
	if want := []string{"10.96.0.0/16", "10.97.0.0/16", "10.98.0.0/16"}; !slices.Equal(got[0].Resource.GetClusterConfig().GetServiceCidrs(), want) {
		t.Errorf("got %v, want %v", got[0].Resource, want)
	}
}

func TestExplainSaysWhyEachEndpointIsInOrOut(t *testing.T) {
	slices := []*model.Slice{slice("s1", ready("10.0.0.1", "a", "z1"), ready("10.0.0.2", "b", "z2"),
		model.Endpoint{Addr: netip.MustParseAddr("10.0.0.3"), Node: "a"},
		model.Endpoint{Addr: netip.MustParseAddr("10.0.0.4"), Node: "a", Serving: true, Terminating: true})}
	decisions, candidates := Explain(web(nil), slices, "a", "z1")
	if text := strings.Join(decisions, "\n"); !strings.Contains(text, "these name z1") || !strings.Contains(text, "1 of 4 endpoints") {
		t.Errorf("decisions:\n%s", text)
	}
	var got []string
	for _, c := range candidates {
		use := "out"
		if c.GetCluster() {
			use = "in"
		}
		if c.GetLocal() {
			use += ", local"
		}
		got = append(got, c.GetAddress()+" "+use+": "+c.GetReason())
	}
	want := []string{
		"10.0.0.1:8080 in, local: ready",
		"10.0.0.2:8080 out: ready, but hinted to zone z2",
		"10.0.0.3:8080 out: not ready",
		"10.0.0.4:8080 out: terminating, still serving; not needed while others are ready",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExternalIPsCanBeForbidden(t *testing.T) {
	service := web(func(s *model.Service) { s.ExternalIPs = []netip.Addr{netip.MustParseAddr("198.51.100.1")} })
	if got := (Settings{IgnoreExternalIPs: true}).Allow(service); len(got.ExternalIPs) != 0 || len(service.ExternalIPs) != 1 {
		t.Errorf("got %v of %v", got.ExternalIPs, service.ExternalIPs)
	}
	if got := DefaultSettings().Allow(service); got != service {
		t.Error("changed although nothing is forbidden")
	}
}
