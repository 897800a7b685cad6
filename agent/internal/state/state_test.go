package state

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

func service(change func(*discoveryv1.Service)) *discoveryv1.Resource {
	body := &discoveryv1.Service{
		ClusterIps: []string{"10.96.0.1", "fd00:96::1"}, ExternalIps: []string{"198.51.100.20"}, LoadBalancerIps: []string{"198.51.100.10"},
		Ports:                    []*discoveryv1.ServicePort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 80, NodePort: 30080}},
		InternalTrafficPolicy:    discoveryv1.TrafficPolicy_TRAFFIC_POLICY_CLUSTER,
		ExternalTrafficPolicy:    discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL,
		SessionAffinityTimeout:   durationpb.New(time.Hour),
		LoadBalancerSourceRanges: []string{"203.0.113.0/24"}, HealthCheckNodePort: 32000, Scheduler: "rr", Created: 7,
	}
	if change != nil {
		change(body)
	}
	return &discoveryv1.Resource{Name: "demo/web", Version: 11, Body: &discoveryv1.Resource_Service{Service: body}}
}

func groups(addresses ...string) []*discoveryv1.EndpointGroup {
	g := &discoveryv1.EndpointGroup{Ports: []*discoveryv1.EndpointPort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 8080}}}
	for _, a := range addresses {
		g.Endpoints = append(g.Endpoints, &discoveryv1.Endpoint{Address: a, State: discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING, Weight: 3})
	}
	return []*discoveryv1.EndpointGroup{g}
}

func endpointSet(name, service string, addresses ...string) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: name, Version: 12, Body: &discoveryv1.Resource_EndpointSet{
		EndpointSet: &discoveryv1.EndpointSet{Service: service, Groups: groups(addresses...)}}}
}

func localEndpoints(addresses ...string) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: "demo/web", Version: 13, Body: &discoveryv1.Resource_LocalEndpoints{
		LocalEndpoints: &discoveryv1.LocalEndpoints{Local: groups(addresses...), Preferred: groups(addresses...)}}}
}

func nodeConfig(change func(*discoveryv1.NodeConfig)) *discoveryv1.Resource {
	body := &discoveryv1.NodeConfig{
		Mode: discoveryv1.ProxyMode_PROXY_MODE_NFTABLES, Zone: "z", NodeIps: []string{"192.168.0.2"}, NodePortAddresses: []string{"primary"},
		DetectLocal:   &discoveryv1.DetectLocal{Mode: discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR, Cidrs: []string{"10.244.0.0/16"}, Interface: "cni0"},
		MasqueradeAll: true, MasqueradeBit: 14, SyncPeriod: durationpb.New(time.Minute), MinSyncPeriod: durationpb.New(time.Second),
		Ineligible: "the Node is being deleted", LocalhostNodePorts: true,
		Ipvs: &discoveryv1.Ipvs{Scheduler: "rr"}, Conntrack: &discoveryv1.Conntrack{Min: 5},
	}
	if change != nil {
		change(body)
	}
	return &discoveryv1.Resource{Name: "node-a", Version: 14, Body: &discoveryv1.Resource_NodeConfig{NodeConfig: body}}
}

func clusterConfig(cidrs ...string) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: resource.ClusterConfigName, Version: 15, Body: &discoveryv1.Resource_ClusterConfig{
		ClusterConfig: &discoveryv1.ClusterConfig{ServiceCidrs: cidrs}}}
}

func everything() []*discoveryv1.Resource {
	return []*discoveryv1.Resource{
		service(nil), endpointSet("demo/web-1", "demo/web", "10.244.1.1"), localEndpoints("10.244.1.1"),
		nodeConfig(nil), clusterConfig("10.96.0.0/16"),
	}
}

func full(t testing.TB) *State {
	t.Helper()
	s := New()
	if _, rejected := s.Apply(slices.Values(everything()), nil); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	return s
}

// ipvsConfig is that of a node in IPVS mode.
func ipvsConfig(change func(*discoveryv1.Ipvs)) *discoveryv1.Resource {
	return nodeConfig(func(c *discoveryv1.NodeConfig) {
		c.Mode, c.Ipvs = discoveryv1.ProxyMode_PROXY_MODE_IPVS, &discoveryv1.Ipvs{}
		change(c.Ipvs)
	})
}

func TestWhatCannotBeUsedIsRejectedByNameAndTheLastGoodStateStays(t *testing.T) {
	endpoint := func(address string) *discoveryv1.Resource { return endpointSet("demo/web-1", "demo/web", address) }
	tests := map[string]struct {
		resource *discoveryv1.Resource
		reason   string
	}{
		"malformed cluster IP":   {service(func(s *discoveryv1.Service) { s.ClusterIps[0] = "10.96.0" }), `cluster_ips[0] "10.96.0": expected an IP address`},
		"port zero":              {service(func(s *discoveryv1.Service) { s.Ports[0].Port = 0 }), "ports[0]: port 0: expected 1 to 65535"},
		"node port too large":    {service(func(s *discoveryv1.Service) { s.Ports[0].NodePort = 70000 }), "ports[0]: node_port 70000: expected 1 to 65535"},
		"protocol of the future": {service(func(s *discoveryv1.Service) { s.Ports[0].Protocol = 9 }), "ports[0]: protocol 9: expected TCP, UDP or SCTP"},
		"malformed source range": {service(func(s *discoveryv1.Service) { s.LoadBalancerSourceRanges[0] = "all" }), `load_balancer_source_ranges[0] "all": expected a CIDR`},
		"affinity for ever":      {service(func(s *discoveryv1.Service) { s.SessionAffinityTimeout = durationpb.New(48 * time.Hour) }), "session_affinity_timeout 48h0m0s: expected at most 24h0m0s"},
		"affinity back in time":  {service(func(s *discoveryv1.Service) { s.SessionAffinityTimeout = durationpb.New(-time.Second) }), "session_affinity_timeout -1s: expected at most 24h0m0s"},
		"node port 65536":        {service(func(s *discoveryv1.Service) { s.Ports[0].NodePort = 65536 }), "ports[0]: node_port 65536: expected 1 to 65535"},
		"loopback cluster IP":    {service(func(s *discoveryv1.Service) { s.ClusterIps[0] = "127.0.0.1" }), "cluster_ips[0] 127.0.0.1: "},
		"loopback balancer":      {service(func(s *discoveryv1.Service) { s.LoadBalancerIps[0] = "127.0.0.1" }), "load_balancer_ips[0] 127.0.0.1: "},
		"endpoint port zero":     {edited(endpoint("10.244.1.1"), func(g *discoveryv1.EndpointGroup) { g.Ports[0].Port = 0 }), "groups[0].ports[0]: port 0: expected 1 to 65535"},
		"endpoint protocol":      {edited(endpoint("10.244.1.1"), func(g *discoveryv1.EndpointGroup) { g.Ports[0].Protocol = 9 }), "groups[0].ports[0]: protocol 9: expected TCP"},
		"state of the future": {edited(endpoint("10.244.1.1"), func(g *discoveryv1.EndpointGroup) {
			g.Endpoints[0].State = discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING + 1
		}), "groups[0].endpoints[0].state 3: not known to this agent"},
		"loopback external IP":       {service(func(s *discoveryv1.Service) { s.ExternalIps[0] = "127.0.0.1" }), "external_ips[0] 127.0.0.1: "},
		"loopback endpoint":          {endpoint("127.0.0.1"), "groups[0].endpoints[0].address 127.0.0.1: "},
		"metadata endpoint":          {endpoint("169.254.169.254"), "groups[0].endpoints[0].address 169.254.169.254: "},
		"another metadata endpoint":  {endpoint("fd00:ec2::254"), "groups[0].endpoints[0].address fd00:ec2::254: "},
		"link-local endpoint":        {endpoint("fe80::1"), "groups[0].endpoints[0].address fe80::1: "},
		"endpoint that is no IP":     {endpoint("web.example"), `groups[0].endpoints[0].address "web.example": expected an IP address`},
		"local endpoint of the sort": {localEndpoints("224.0.0.1"), "local[0].endpoints[0].address 224.0.0.1: "},
		"mark bit out of range":      {nodeConfig(func(c *discoveryv1.NodeConfig) { c.MasqueradeBit = 32 }), "masquerade_bit 32: expected 0 to 31"},
		"part of a second":           {ipvsConfig(func(c *discoveryv1.Ipvs) { c.TcpTimeout = durationpb.New(1500 * time.Millisecond) }), "ipvs.tcp_timeout 1.5s: expected whole seconds"},
		"malformed excluded range":   {ipvsConfig(func(c *discoveryv1.Ipvs) { c.ExcludeCidrs = []string{"10.0.0.1"} }), `ipvs.exclude_cidrs[0] "10.0.0.1": expected a CIDR`},
		"malformed node-port range":  {nodeConfig(func(c *discoveryv1.NodeConfig) { c.NodePortAddresses = []string{"eth0"} }), `node_port_addresses[0] "eth0": expected a CIDR`},
		"malformed service CIDR":     {clusterConfig("10.96.0.0"), `service_cidrs[0] "10.96.0.0": expected a CIDR`},
		"kind of the future":         {&discoveryv1.Resource{Name: "x"}, "kind of resource is not known to this agent"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := full(t)
			before := maps.Clone(s.Held())
			other := endpointSet("demo/other-1", "demo/other", "10.244.3.3")
			dirty, rejected := s.Apply(slices.Values([]*discoveryv1.Resource{test.resource, other}), nil)
			if len(rejected) != 1 || rejected[0].GetName().GetName() != test.resource.GetName() || !strings.HasPrefix(rejected[0].GetReason(), test.reason) {
				t.Errorf("rejected %v, want %s because %q", rejected, test.resource.GetName(), test.reason)
			}
			before[resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "demo/other-1"}] = 12
			if diff := cmp.Diff(before, s.Held()); diff != "" {
				t.Errorf("what is held (-want +got)\n%s", diff)
			}
			if _, ok := dirty.Services["demo/other"]; !ok || len(dirty.Services) != 1 {
				t.Errorf("dirty %v, want the other Service alone", dirty)
			}
		})
	}
}

// edited changes the group of an EndpointSet.
func edited(r *discoveryv1.Resource, edit func(*discoveryv1.EndpointGroup)) *discoveryv1.Resource {
	edit(r.GetEndpointSet().GetGroups()[0])
	return r
}

// TestEveryResourceMakesDirtyWhatDependsOnIt when it is set and when it is removed.
func TestEveryResourceMakesDirtyWhatDependsOnIt(t *testing.T) {
	for _, r := range everything() {
		name := resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}
		config := r.GetNodeConfig() != nil || r.GetClusterConfig() != nil
		s := New()
		set, _ := s.Apply(slices.Values([]*discoveryv1.Resource{r}), nil)
		removed, _ := s.Apply(none, []resource.Name{name})
		for what, dirty := range map[string]Dirty{"set": set, "removed": removed} {
			_, service := dirty.Services["demo/web"]
			if dirty.Config != config || service == config {
				t.Errorf("%s is %s: dirty %v", name, what, dirty)
			}
			var merged Dirty
			merged.Merge(dirty)
			merged.Merge(Dirty{})
			if _, kept := merged.Services["demo/web"]; merged.Config != dirty.Config || kept != service {
				t.Errorf("merged with nothing %v becomes %v", dirty, merged)
			}
		}
	}
}

func TestEndpointSetsComeInOrderOfTheirNames(t *testing.T) {
	s := New()
	for _, name := range []string{"demo/c", "demo/a", "demo/d", "demo/b", "demo/e"} {
		s.Apply(slices.Values([]*discoveryv1.Resource{endpointSet(name, "demo/web", "10.244.1.1")}), nil)
	}
	var names []string
	for _, set := range s.EndpointSets("demo/web") {
		names = append(names, set.Name)
	}
	if !slices.IsSorted(names) || len(names) != 5 {
		t.Errorf("in order %v", names)
	}
}

func TestAnEndpointSetThatMovesMakesBothServicesDirty(t *testing.T) {
	s := full(t)
	dirty, _ := s.Apply(slices.Values([]*discoveryv1.Resource{endpointSet("demo/web-1", "demo/other", "10.244.1.1")}), nil)
	for _, name := range []string{"demo/web", "demo/other"} {
		if _, ok := dirty.Services[name]; !ok {
			t.Errorf("%s is not dirty", name)
		}
	}
	if len(s.EndpointSets("demo/web")) != 0 || len(s.EndpointSets("demo/other")) != 1 {
		t.Error("the set did not move")
	}
}

func TestRemovals(t *testing.T) {
	s := full(t)
	var names []resource.Name
	for name := range s.Held() {
		names = append(names, name)
	}
	dirty, _ := s.Apply(none, names)
	if len(s.Held()) != 0 || !dirty.Config {
		t.Errorf("held %v, dirty %v", s.Held(), dirty)
	}
	if len(s.byService) != 0 {
		t.Errorf("left in the index: %v", s.byService)
	}
}

func TestResourcesRestoreTheState(t *testing.T) {
	s := full(t)
	var again []*discoveryv1.Resource
	for r := range s.Resources() {
		again = append(again, r)
	}
	restored := New()
	if _, rejected := restored.Apply(slices.Values(again), nil); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	compare(t, s, restored)
}

// compare compares states by what they encode to.
func compare(t *testing.T, want, got *State) {
	t.Helper()
	index := func(s *State) map[string]*discoveryv1.Resource {
		list := map[string]*discoveryv1.Resource{}
		for r := range s.Resources() {
			list[resource.KindName(resource.KindOf(r))+r.GetName()] = r
		}
		return list
	}
	a, b := index(want), index(got)
	if len(a) != len(b) {
		t.Fatalf("%d resources, want %d", len(b), len(a))
	}
	for name, r := range a {
		if !proto.Equal(r, b[name]) {
			t.Errorf("%s is %v, want %v", name, b[name], r)
		}
	}
}

// TestWireAndStateAgree sees that every field of the resources comes back from the
// state as it was sent: a field that the state forgot would be lost on restart.
func TestWireAndStateAgree(t *testing.T) {
	s := full(t)
	for r := range s.Resources() {
		for _, sent := range everything() {
			if resource.KindOf(sent) == resource.KindOf(r) && !proto.Equal(sent, r) {
				t.Errorf("sent %v\nheld %v", sent, r)
			}
		}
	}
}

// snapshot is of a full state, with something to go with it.
func snapshot(t testing.TB) *Snapshot {
	t.Helper()
	return full(t).Snapshot(Checkpoint{
		Node: "node-a", Written: time.Unix(1_700_000_000, 0).UTC(), Revision: 42, Source: Source{Source: "test", Services: 9}, Extra: []byte("extra"),
	})
}

func TestEveryEndpointStateAndNodePortRangeComesBack(t *testing.T) {
	set := endpointSet("demo/web-1", "demo/web", "10.244.1.1", "10.244.1.2", "10.244.1.3")
	for i, state := range []discoveryv1.EndpointState{
		discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED, discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING, discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING,
	} {
		set.GetEndpointSet().GetGroups()[0].GetEndpoints()[i].State = state
	}
	ranges := nodeConfig(func(c *discoveryv1.NodeConfig) { c.NodePortAddresses = []string{"192.168.0.0/24", "fd00::/16"} })
	for _, sent := range []*discoveryv1.Resource{set, ranges} {
		s := New()
		s.Apply(slices.Values([]*discoveryv1.Resource{sent}), nil)
		for r := range s.Resources() {
			if !proto.Equal(sent, r) {
				t.Errorf("sent %v\nheld %v", sent, r)
			}
		}
	}
	s := New()
	s.Apply(slices.Values([]*discoveryv1.Resource{set, clusterConfig("10.96.1.2/16")}), nil)
	endpoints := s.EndpointSets("demo/web")[0].Groups[0].Endpoints
	for i, e := range slices.Collect(endpoints.All()) {
		if e.Terminating != (i == 1) || e.Draining != (i == 2) {
			t.Errorf("endpoint %d is %+v", i, e)
		}
	}
	if got := s.Cluster().ServiceCIDRs[0].String(); got != "10.96.0.0/16" {
		t.Errorf("ServiceCIDR %s, want its host bits cleared", got)
	}
}

// none is no resources.
func none(func(*discoveryv1.Resource) bool) {}

func checkpoint(t testing.TB) []byte {
	t.Helper()
	return written(t, snapshot(t))
}

// written returns what a snapshot is on disk.
func written(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checkpoint")
	size, err := s.WriteFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || len(content) != size {
		t.Fatalf("%d bytes of %d, %v", len(content), size, err)
	}
	return content
}

func TestCheckpointComesBackFromDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	for range 2 {
		if _, err := snapshot(t).WriteFile(path); err != nil {
			t.Fatal(err)
		}
	}
	restored, header, err := ReadFile(path, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	if header.Revision != 42 || header.Source.Services != 9 || header.Schema != Schema() || string(header.Extra) != "extra" {
		t.Errorf("header %+v", header)
	}
	compare(t, full(t), restored)
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("temporary files stay: %v", left)
	}
}

// TestASnapshotIsTheStateAsItWas writes one after the state has gone on.
func TestASnapshotIsTheStateAsItWas(t *testing.T) {
	s := full(t)
	was := s.Snapshot(Checkpoint{Node: "node-a"})
	var names []resource.Name
	for name := range s.Held() {
		names = append(names, name)
	}
	s.Apply(none, names)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if _, err := was.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	restored, _, err := ReadFile(path, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, full(t), restored)
}

func TestADamagedOrForeignCheckpointIsNeverUsed(t *testing.T) {
	good := checkpoint(t)
	tests := map[string]struct {
		content []byte
		node    string
		want    string
	}{
		"empty":          {nil, "node-a", "no header line"},
		"of another day": {bytes.Replace(good, []byte("checkpoint/2"), []byte("checkpoint/9"), 1), "node-a", `format "portolan-checkpoint/9": expected "portolan-checkpoint/2"`},
		"another node's": {good, "node-b", `node "node-a": expected this node, "node-b"`},
		"truncated":      {good[:len(good)-1], "node-a", "bytes of resources: expected"},
		"extended":       {append(bytes.Clone(good), 0), "node-a", "bytes of resources: expected"},
		"another count":  {bytes.Replace(good, []byte(`"resources":5`), []byte(`"resources":6`), 1), "node-a", "resource 5 of 6: "},
		"not usable":     {unusable(t), "node-a", "demo/web: cluster_ips[0] 127.0.0.1"},
		"not JSON":       {append([]byte("{\n"), good...), "node-a", "header: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			restored, _, err := Decode(bytes.NewReader(test.content), test.node)
			if err == nil || restored != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// unusable is a sound file whose content this agent would reject.
func unusable(t *testing.T) []byte {
	t.Helper()
	s := full(t)
	s.services["demo/web"].ClusterIPs[0] = netip.MustParseAddr("127.0.0.1")
	return written(t, s.Snapshot(Checkpoint{Node: "node-a"}))
}

func TestACheckpointThatCannotBePutInPlaceLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot(t).WriteFile(path); err == nil {
		t.Error("a directory was replaced")
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("temporary files stay: %v", left)
	}
}

// TestNoMutationOfTheResourcesIsBelieved flips bits all over the file.
func TestNoMutationOfTheResourcesIsBelieved(t *testing.T) {
	good := checkpoint(t)
	body := bytes.IndexByte(good, '\n') + 1
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		bad := bytes.Clone(good)
		bad[body+random.IntN(len(bad)-body)] ^= 1 << random.IntN(8)
		if restored, _, err := Decode(bytes.NewReader(bad), "node-a"); err == nil || restored != nil {
			t.Fatalf("believed a damaged file")
		}
	}
}

func TestACheckpointThatCannotBeWrittenSaysWhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "checkpoint")
	if _, err := snapshot(t).WriteFile(path); err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Errorf("error %v, want one that names the directory", err)
	}
	if _, _, err := ReadFile(path, "node-a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want not-exist", err)
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(checkpoint(f))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if restored, _, err := Decode(bytes.NewReader(content), "node-a"); (err == nil) != (restored != nil) {
			t.Errorf("state %v with error %v", restored, err)
		}
	})
}

// FuzzApply feeds arbitrary protobufs: whatever is accepted must encode to
// something that is accepted again and means the same.
func FuzzApply(f *testing.F) {
	for _, r := range everything() {
		content, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var r discoveryv1.Resource
		if proto.Unmarshal(content, &r) != nil {
			return
		}
		s := New()
		if _, rejected := s.Apply(slices.Values([]*discoveryv1.Resource{&r}), nil); len(rejected) > 0 {
			return
		}
		var again []*discoveryv1.Resource
		for held := range s.Resources() {
			again = append(again, held)
		}
		restored := New()
		if _, rejected := restored.Apply(slices.Values(again), nil); len(rejected) > 0 {
			t.Fatalf("accepted %v but not what it is held as: %v", &r, rejected)
		}
		compare(t, s, restored)
	})
}
