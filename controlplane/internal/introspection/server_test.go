package introspection

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

type fixture struct {
	introspectionv1.IntrospectionServiceClient
	store    *snapshot.Store
	nodes    *nodes.Registry
	explains error
	held     brake.State
}

func (f *fixture) Nodes() []*model.Node {
	return []*model.Node{{Name: "node-1", Zone: "z1"}, {Name: "node-2", Zone: "z2"}}
}

func group(node string) string {
	if node == "node-1" {
		return "edge"
	}
	return ""
}

func (f *fixture) Problems() []model.Problem {
	return []model.Problem{{Object: "Service d/bad", Field: "spec.clusterIP", Value: "x", Message: "expected an address"}}
}

func (f *fixture) Find(request *introspectionv1.ExplainServiceRequest) (Query, error) {
	return Query{Node: request.GetNode(), Service: model.ParseKey(request.GetService())}, nil
}

func (f *fixture) Explain(query Query) (Explanation, error) {
	node, service := query.Node, query.Service
	if service.Name != "web" && service.Name != "headless" {
		return Explanation{}, errors.New("not there")
	}
	return Explanation{
		Decisions: []string{"decided for " + node}, Candidates: []*introspectionv1.Candidate{{Address: "10.0.0.1"}},
		Traffic: []*introspectionv1.Traffic{{From: "elsewhere", Outcome: "refused"}},
	}, f.explains
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{store: snapshot.NewStore(time.Now), nodes: nodes.NewRegistry(nodes.Config{Now: time.Now})}
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	Register(server, New(Config{Snapshots: f.store, Nodes: f.nodes, Cluster: f, Explainer: f, Group: group, Held: func() brake.State { return f.held }, Now: time.Now}))
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///cp", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
	})
	f.IntrospectionServiceClient = introspectionv1.NewIntrospectionServiceClient(conn)
	return f
}

// fill commits a dual-stack Service with zone hints in IPv4, and one without
// endpoints.
func (f *fixture) fill(t *testing.T) {
	t.Helper()
	web := &model.Service{
		Key:         model.Key{Namespace: "d", Name: "web"},
		ClusterIPs:  []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00::1")},
		ExternalIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Ports:       []model.Port{{Name: "http", Protocol: model.TCP, Port: 80, NodePort: 30080}},
		Internal:    model.Cluster, External: model.Local,
	}
	endpoint := func(address, node, zone string) model.Endpoint {
		e := model.Endpoint{Addr: netip.MustParseAddr(address), Node: node, Zone: zone, Ready: true, Serving: true}
		if e.Addr.Is4() {
			e.ZoneHints = []string{zone}
		}
		return e
	}
	slice := func(name string, is6 bool, endpoints ...model.Endpoint) *model.Slice {
		return &model.Slice{Key: model.Key{Namespace: "d", Name: name}, Service: "web", Is6: is6,
			Ports: []model.SlicePort{{Name: "http", Protocol: model.TCP, Port: 8080}}, Endpoints: endpoints}
	}
	api := &model.Service{Key: model.Key{Namespace: "d", Name: "api"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.2")},
		Ports: []model.Port{{Protocol: model.UDP, Port: 53}}, Internal: model.Cluster, External: model.Cluster}
	tx := f.store.Begin()
	for owner, resources := range map[string][]snapshot.Scoped{
		"web": compile.Service(web, []*model.Slice{
			slice("web-4a", false, endpoint("10.0.0.1", "node-1", "z1"), endpoint("10.0.0.2", "node-2", "z2")),
			slice("web-4b", false, endpoint("10.0.0.3", "node-2", "z2")),
			slice("web-6", true, endpoint("fd01::1", "node-1", "z1"), endpoint("fd01::2", "node-2", "z2")),
		}),
		"api":  compile.Service(api, nil),
		"node": {config("node-1", "z1"), config("node-2", "z2")},
		"cluster": {{Resource: &discoveryv1.Resource{Name: "cluster", Body: &discoveryv1.Resource_ClusterConfig{
			ClusterConfig: &discoveryv1.ClusterConfig{ServiceCidrs: []string{"10.96.0.0/12"}}}}}},
	} {
		if err := tx.Replace(owner, resources); err != nil {
			t.Fatal(err)
		}
	}
	tx.Commit(model.SourceVersion{})
}

func config(node, zone string) snapshot.Scoped {
	return snapshot.Scoped{Scope: snapshot.Scope{Node: node}, Resource: &discoveryv1.Resource{Name: node,
		Body: &discoveryv1.Resource_NodeConfig{NodeConfig: &discoveryv1.NodeConfig{Zone: zone, Mode: discoveryv1.ProxyMode_PROXY_MODE_IPVS}}}}
}

func TestAViewShowsWhatANodeUses(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	port4 := func(cluster, local []string) *introspectionv1.PortView {
		return &introspectionv1.PortView{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP,
			Frontends: []string{"10.96.0.1:80", "192.0.2.1:80", "*:30080"}, ClusterEndpoints: cluster, LocalEndpoints: local}
	}
	port6 := func(local []string) *introspectionv1.PortView {
		return &introspectionv1.PortView{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP,
			Frontends: []string{"[fd00::1]:80", "*:30080"}, ClusterEndpoints: []string{"[fd01::1]:8080", "[fd01::2]:8080"}, LocalEndpoints: local}
	}
	for node, want := range map[string][]*introspectionv1.PortView{
		"":       {port4([]string{"10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"}, nil), port6(nil)},
		"node-1": {port4([]string{"10.0.0.1:8080"}, []string{"10.0.0.1:8080"}), port6([]string{"[fd01::1]:8080"})},
		"node-2": {port4([]string{"10.0.0.2:8080", "10.0.0.3:8080"}, []string{"10.0.0.2:8080", "10.0.0.3:8080"}), port6([]string{"[fd01::2]:8080"})},
	} {
		view, err := f.GetView(t.Context(), &introspectionv1.GetViewRequest{Node: node, Services: []string{"d/web"}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, view.GetServices()[0].GetPorts(), protocmp.Transform()); diff != "" {
			t.Errorf("node %q: %s", node, diff)
		}
		if (view.GetNodeConfig() != nil) != (node != "") || len(view.GetClusterConfig().GetServiceCidrs()) != 1 || view.GetRevision() != 1 {
			t.Errorf("node %q: %v", node, view)
		}
	}
	all, err := f.GetView(t.Context(), &introspectionv1.GetViewRequest{Node: "node-1"})
	if err != nil || len(all.GetServices()) != 2 || all.GetServices()[0].GetName() != "d/api" || all.GetServices()[1].GetVersion() == 0 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestPreferredEndpointsReplaceThosePortByPort(t *testing.T) {
	service := &discoveryv1.Service{ClusterIps: []string{"10.96.0.1"},
		Ports: []*discoveryv1.ServicePort{{Name: "a", Protocol: 1, Port: 1}, {Name: "b", Protocol: 1, Port: 2}}}
	group := func(address string, names ...string) []*discoveryv1.EndpointGroup {
		g := &discoveryv1.EndpointGroup{Endpoints: []*discoveryv1.Endpoint{{Address: address}, {Address: "no address"}}}
		for _, name := range names {
			g.Ports = append(g.Ports, &discoveryv1.EndpointPort{Name: name, Protocol: 1, Port: 9})
		}
		return []*discoveryv1.EndpointGroup{g}
	}
	sets := []*discoveryv1.EndpointSet{{Groups: group("10.0.0.1", "a", "b")}, {Groups: group("10.0.0.1", "a")}}
	got := ports(service, sets, &discoveryv1.LocalEndpoints{Preferred: group("10.0.0.2", "b")})
	if cmp.Diff([]string{"10.0.0.1:9"}, got[0].GetClusterEndpoints()) != "" || cmp.Diff([]string{"10.0.0.2:9"}, got[1].GetClusterEndpoints()) != "" {
		t.Errorf("got %v", got)
	}
}

func TestWhatIsNotThereIsNamedWithWhatIsNear(t *testing.T) {
	f := newFixture(t)
	if _, err := f.GetView(t.Context(), &introspectionv1.GetViewRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("before the first snapshot: %v", err)
	}
	f.fill(t)
	f.nodes.Connect(nodes.Peer{Node: "relay"})
	for _, test := range []struct {
		node, service, want string
	}{
		{"node-9", "", `no node "node-9"; did you mean "node-1", "node-2"?`},
		{"rely", "", `did you mean "relay"?`},
		{"node-1", "d/wbe", `no Service "d/wbe"; did you mean "d/web"?`},
		{"node-1", "web", `no Service "default/web"; did you mean "d/web"?`},
		{"node-1", "d/something-else", `no Service "d/something-else" among 2`},
	} {
		request := &introspectionv1.GetViewRequest{Node: test.node}
		if test.service != "" {
			request.Services = []string{test.service}
		}
		_, err := f.GetView(t.Context(), request)
		if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if _, err := f.GetView(t.Context(), &introspectionv1.GetViewRequest{Node: "relay"}); err != nil {
		t.Errorf("a node that is connected but not in the cluster: %v", err)
	}
}

func TestNodesAreListedByState(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	synced := f.nodes.Connect(nodes.Peer{Node: "node-1", Zone: "z1", Address: "10.1.1.1:1", AgentVersion: "v1"})
	synced.Sent(1, 2, 3, true)
	synced.Acked(nodes.Ack{Revision: 1, ApplyDuration: time.Millisecond})
	f.nodes.Connect(nodes.Peer{Node: "node-2"})
	all, err := f.ListNodes(t.Context(), &introspectionv1.ListNodesRequest{})
	if err != nil || len(all.GetNodes()) != 2 || all.GetRevision() != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	one, err := f.ListNodes(t.Context(), &introspectionv1.ListNodesRequest{States: []introspectionv1.SyncState{introspectionv1.SyncState_SYNC_STATE_SYNCED}})
	if err != nil || len(one.GetNodes()) != 1 {
		t.Fatalf("got %v, %v", one, err)
	}
	n := one.GetNodes()[0]
	if n.GetNode() != "node-1" || n.GetZone() != "z1" || n.GetPeer() != "10.1.1.1:1" || n.GetSentBytes() != 3 || n.GetFullSyncs() != 1 ||
		n.GetAckedAt() == nil || n.GetApplyDuration().AsDuration() != time.Millisecond {
		t.Errorf("got %v", n)
	}
}

func TestNodesAreListedWithTheConfigurationThatTheyAreTold(t *testing.T) {
	f := newFixture(t)
	before, err := f.ListNodes(t.Context(), &introspectionv1.ListNodesRequest{})
	if err != nil || before.GetNodes()[0].GetConfig() != nil {
		t.Errorf("before the first snapshot: %v, error %v", before, err)
	}
	f.fill(t)
	f.nodes.Connect(nodes.Peer{Node: "relay"})
	all, err := f.ListNodes(t.Context(), &introspectionv1.ListNodesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	versions := map[uint64]bool{}
	for _, node := range all.GetNodes() {
		config := node.GetConfig()
		if known := node.GetNode() != "relay"; known != (config.GetMode() == discoveryv1.ProxyMode_PROXY_MODE_IPVS) || config.GetGroup() != group(node.GetNode()) {
			t.Errorf("%s is told %v", node.GetNode(), config)
		}
		versions[config.GetVersion()] = true
	}
	if len(versions) != len(all.GetNodes()) {
		t.Errorf("different configurations have the versions %v", versions)
	}
	explained, err := f.ExplainService(t.Context(), &introspectionv1.ExplainServiceRequest{Node: "relay", Service: "d/web"})
	if err != nil || explained.GetNode().GetConfig() != nil {
		t.Errorf("explained %v, error %v", explained.GetNode(), err)
	}
}

func TestAServiceIsExplained(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.nodes.Connect(nodes.Peer{Node: "node-1"})
	got, err := f.ExplainService(t.Context(), &introspectionv1.ExplainServiceRequest{Node: "node-1", Service: "d/web"})
	if err != nil || got.GetView().GetName() != "d/web" || len(got.GetDecisions()) != 1 || len(got.GetCandidates()) != 1 || got.GetNode().GetNode() != "node-1" {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = f.ExplainService(t.Context(), &introspectionv1.ExplainServiceRequest{Node: "node-2", Service: "d/headless"})
	if err != nil || got.GetView() != nil || got.GetNode() != nil || len(got.GetDecisions()) != 1 {
		t.Errorf("a Service that is not proxied: %v, %v", got, err)
	}
	for request, want := range map[*introspectionv1.ExplainServiceRequest]codes.Code{
		{Node: "node-1"}:                      codes.InvalidArgument,
		{Node: "node-9", Service: "d/web"}:    codes.NotFound,
		{Node: "node-1", Service: "d/absent"}: codes.NotFound,
	} {
		if _, err := f.ExplainService(t.Context(), request); status.Code(err) != want {
			t.Errorf("%v: %v", request, err)
		}
	}
	f.explains = errors.New("broken")
	if _, err := f.ExplainService(t.Context(), &introspectionv1.ExplainServiceRequest{Service: "d/web"}); status.Code(err) != codes.Internal {
		t.Errorf("got %v", err)
	}
}

// well is a cluster without problems.
type well struct{ *fixture }

func (well) Problems() []model.Problem { return nil }

func TestThatThereAreNoProblemsIsSaidOnlyOnceEverythingIsRead(t *testing.T) {
	f := newFixture(t)
	server := New(Config{Snapshots: f.store, Nodes: f.nodes, Cluster: well{f}, Explainer: f, Group: group, Held: func() brake.State { return f.held }, Now: time.Now})
	if _, err := server.ListProblems(t.Context(), &introspectionv1.ListProblemsRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want Unavailable", err)
	}
	f.fill(t)
	if _, err := server.ListProblems(t.Context(), &introspectionv1.ListProblemsRequest{}); err != nil {
		t.Error(err)
	}
}

func TestProblemsAreListed(t *testing.T) {
	f := newFixture(t)
	got, err := f.ListProblems(t.Context(), &introspectionv1.ListProblemsRequest{})
	want := &introspectionv1.ListProblemsResponse{Problems: []*introspectionv1.Problem{
		{Object: "Service d/bad", Field: "spec.clusterIP", Value: "x", Message: "expected an address"}}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
}

func TestWhatIsHeldBackIsToldWithTheProblems(t *testing.T) {
	f := newFixture(t)
	f.held = brake.State{Held: []model.Key{{Namespace: "d", Name: "a"}, {Namespace: "d", Name: "b"}}, Of: 3, Since: time.Unix(1_700_000_000, 0)}
	got, err := f.ListProblems(t.Context(), &introspectionv1.ListProblemsRequest{})
	want := &introspectionv1.Brake{Services: []string{"d/a", "d/b"}, Served: 3, Since: &timestamppb.Timestamp{Seconds: 1_700_000_000}}
	if diff := cmp.Diff(want, got.GetBrake(), protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
}

func TestANodeWithoutAgentIsListedToo(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	all, err := f.ListNodes(t.Context(), &introspectionv1.ListNodesRequest{})
	if err != nil || len(all.GetNodes()) != len(f.Nodes()) {
		t.Fatalf("got %v, %v", all, err)
	}
	for _, node := range all.GetNodes() {
		if node.GetState() != introspectionv1.SyncState_SYNC_STATE_DISCONNECTED || node.GetLastError() != neverConnected {
			t.Errorf("got %v", node)
		}
	}
}

func TestARefusedStreamIsToldOfAConnectedNodeForAWhile(t *testing.T) {
	f, now := newFixture(t), time.Unix(1_700_000_000, 0)
	f.fill(t)
	server := New(Config{Snapshots: f.store, Nodes: f.nodes, Cluster: f, Explainer: f, Group: group, Held: func() brake.State { return f.held }, Now: func() time.Time { return now }})
	f.nodes = nodes.NewRegistry(nodes.Config{Now: func() time.Time { return now }})
	server.cfg.Nodes = f.nodes
	f.nodes.Connect(nodes.Peer{Node: "node-1"})
	f.nodes.Refused(nodes.Peer{Node: "node-1"}, "too fast")
	for _, want := range []string{"another stream was refused: too fast", ""} {
		all, err := server.ListNodes(t.Context(), &introspectionv1.ListNodesRequest{})
		if err != nil || all.GetNodes()[0].GetLastError() != want {
			t.Errorf("got %q, %v", all.GetNodes()[0].GetLastError(), err)
		}
		now = now.Add(refusedFor)
	}
}
