package get

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func answers() *asktest.Answers {
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	return &asktest.Answers{
		Nodes: &introspectionv1.ListNodesResponse{Revision: 41, Nodes: []*introspectionv1.NodeStatus{
			{Replica: "r1", Node: "node-a", Zone: "zone-a", State: introspectionv1.SyncState_SYNC_STATE_SYNCED, AckedRevision: 41, AckedAt: ago(12 * time.Second),
				Warnings: []*discoveryv1.Warning{{Name: &discoveryv1.ResourceName{Name: "demo/web"}, Reason: "FailedToStartServiceHealthcheck", Message: "port 32000: in use"}, {}},
				Config:   &introspectionv1.NodeConfigStatus{Mode: discoveryv1.ProxyMode_PROXY_MODE_IPVS, Version: 0x1a2b3c4d5e6f7081, Group: "edge"}, Peer: "10.0.0.1:4321",
				ApplyDuration: durationpb.New(3100 * time.Microsecond), SentResources: 57, SentBytes: 14_210, AgentVersion: "v1.0.0"},
			{Node: "node-b", Zone: "zone-b", State: introspectionv1.SyncState_SYNC_STATE_CONNECTING, AgentVersion: "v1.0.0"},
			{Node: "node-c", State: introspectionv1.SyncState_SYNC_STATE_REJECTED, AckedRevision: 40, AckedAt: ago(3 * time.Hour),
				ApplyDuration: durationpb.New(time.Millisecond), AgentVersion: "v0.9.0",
				Rejected: []*discoveryv1.RejectedResource{{Name: &discoveryv1.ResourceName{Name: "demo/web"}, Reason: "too many\nports"}, {}}},
		}},
		View: &introspectionv1.GetViewResponse{Services: []*introspectionv1.ServiceView{
			{Name: "demo/idle", Service: &discoveryv1.Service{Scheduler: "wlc", ClusterIps: []string{"10.96.0.2"}, Ports: []*discoveryv1.ServicePort{{Port: 53, Protocol: discoveryv1.Protocol_PROTOCOL_UDP}}}},
			{
				Name: "demo/web",
				Service: &discoveryv1.Service{
					ClusterIps: []string{"10.96.0.1", "fd00:96::1"}, LoadBalancerIps: []string{"203.0.113.10"},
					Ports:                 []*discoveryv1.ServicePort{{Name: "http", Port: 80, NodePort: 30080, Protocol: discoveryv1.Protocol_PROTOCOL_TCP}},
					ExternalTrafficPolicy: discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL, SessionAffinityTimeout: durationpb.New(time.Hour),
				},
				Ports: []*introspectionv1.PortView{{
					Name: "http", ClusterEndpoints: []string{"10.244.1.2:8080", "10.244.2.2:8080"}, LocalEndpoints: []string{"10.244.1.2:8080", "10.244.1.3:8080"},
				}},
			},
		}},
		Problems: &introspectionv1.ListProblemsResponse{},
	}
}

func run(t *testing.T, a *asktest.Answers, arguments ...string) (out, errOut string) {
	t.Helper()
	get := command(func() time.Time { return now })
	out, errOut, err := asktest.Run(t, get, append(arguments, "--server", asktest.Serve(t, a))...)
	if err != nil {
		t.Fatal(err)
	}
	return out, errOut
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
}

func TestNodesShowWhoHasAppliedWhat(t *testing.T) {
	out, _ := run(t, answers(), "nodes")
	equal(t, out, `
NODE     ZONE     MODE   CONFIG     STATE        REVISION   APPLIED   TOOK    SENT           VERSION   ERROR                                   WARNING
node-a   zone-a   ipvs   1a2b3c4d   Synced       41/41      12s       3.1ms   57 (14.2 kB)   v1.0.0    -                                       FailedToStartServiceHealthcheck: demo/web: port 32000: in use (and 1 more)
node-b   zone-b   -      -          Connecting   0/41       -         -       0 (0 B)        v1.0.0    -                                       -
node-c   -        -      -          Rejected     40/41      3h        1ms     0 (0 B)        v0.9.0    demo/web: too many ports (and 1 more)   -
`)
}

func TestWideNodesShowWhichConfigurationAndFromWhere(t *testing.T) {
	out, _ := run(t, answers(), "nodes", "node-a", "-o", "wide")
	equal(t, out, `
NODE     ZONE     MODE   CONFIG     STATE    REVISION   APPLIED   TOOK    SENT           VERSION   GROUP   ADDRESS         REPLICA   ERROR   WARNING
node-a   zone-a   ipvs   1a2b3c4d   Synced   41/41      12s       3.1ms   57 (14.2 kB)   v1.0.0    edge    10.0.0.1:4321   r1        -       FailedToStartServiceHealthcheck: demo/web: port 32000: in use (and 1 more)
`)
}

func TestWithoutWarningsThereIsNoColumnForThem(t *testing.T) {
	a := answers()
	a.Nodes.Nodes[0].Warnings = nil
	if out, _ := run(t, a, "nodes"); strings.Contains(out, "WARNING") {
		t.Error(out)
	}
}

func TestOneNodeByName(t *testing.T) {
	out, _ := run(t, answers(), "nodes", "node-b")
	if strings.Contains(out, "node-a") || !strings.Contains(out, "node-b") {
		t.Error(out)
	}
	_, _, err := asktest.Run(t, Command(), "nodes", "node-x", "--server", asktest.Serve(t, answers()))
	if err == nil || err.Error() != `no node "node-x" has connected; those that have: node-a, node-b, node-c` {
		t.Error(err)
	}
}

func TestServices(t *testing.T) {
	a := answers()
	out, _ := run(t, a, "services", "--node", "node-a")
	equal(t, out, `
SERVICE     TYPE           POLICY                     CLUSTER-IP             EXTERNAL-IP    PORT(S)        ENDPOINTS
demo/idle   ClusterIP      scheduler wlc              10.96.0.2              -              53/UDP         none
demo/web    LoadBalancer   external Local, ClientIP   10.96.0.1,fd00:96::1   203.0.113.10   80:30080/TCP   2 (2 on it)
`)
	if a.AskedView.GetNode() != "node-a" {
		t.Errorf("asked %v", a.AskedView)
	}
}

func TestEndpoints(t *testing.T) {
	a := answers()
	out, _ := run(t, a, "endpoints", "demo/web")
	equal(t, out, `
SERVICE    PORT   ENDPOINT          USED-FOR
demo/web   http   10.244.1.2:8080   cluster, local
demo/web   http   10.244.2.2:8080   cluster
demo/web   http   10.244.1.3:8080   local
`)
	if got := a.AskedView.GetServices(); len(got) != 1 || got[0] != "demo/web" {
		t.Errorf("asked %v", a.AskedView)
	}
}

func TestProblems(t *testing.T) {
	a := answers()
	out, errOut := run(t, a, "problems")
	equal(t, out+errOut, "no problems: every object is in force\n")
	a.Problems.Problems = []*introspectionv1.Problem{{Object: "Service demo/web", Field: "spec.clusterIP", Value: "x", Message: "expected an IP address"}}
	out, _ = run(t, a, "problems")
	equal(t, out, `
OBJECT             FIELD            VALUE   PROBLEM
Service demo/web   spec.clusterIP   x       expected an IP address
`)
}

func TestEmptyListsAsYAMLAreStillYAML(t *testing.T) {
	out, _ := run(t, answers(), "problems", "-o", "yaml")
	equal(t, out, "problems: []\n")
}
