package top

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// node is one that is asked for when the control plane is at revision 42.
func node(name string, state introspectionv1.SyncState, acked, bytes uint64, apply time.Duration) *introspectionv1.NodeStatus {
	return &introspectionv1.NodeStatus{Node: name, State: state, AckedRevision: acked, CurrentRevision: 42, SentBytes: bytes, SentResources: bytes / 100,
		AckedAt: timestamppb.New(now.Add(-time.Minute)), ApplyDuration: durationpb.New(apply)}
}

const (
	synced  = introspectionv1.SyncState_SYNC_STATE_SYNCED
	pending = introspectionv1.SyncState_SYNC_STATE_PENDING
)

func expect(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
}

func TestNodesAreComparedBetweenTwoLooks(t *testing.T) {
	before := &introspectionv1.ListNodesResponse{Revision: 40, Nodes: []*introspectionv1.NodeStatus{node("a", synced, 40, 1000, 0), node("b", synced, 40, 5000, 0)}}
	after := &introspectionv1.ListNodesResponse{Revision: 42, Nodes: []*introspectionv1.NodeStatus{
		node("a", synced, 41, 5000, 3*time.Millisecond), node("b", pending, 40, 5000, time.Second), node("c", pending, 30, 100, 0)}}
	rows := nodeRows(before, after, 2*time.Second, now)
	o := options{sortBy: "bytes/s"}
	for sort, want := range map[string]string{
		"bytes/s": `
NODE   STATE     BEHIND   SILENT   APPLY   RESOURCES/S   BYTES/S   SENT     FULL-SYNCS
a      Synced    0        -        3ms     20.0          2.0 kB    5.0 kB   0
c      Pending   12       60s      0s      0.5           50 B      100 B    0
b      Pending   2        60s      1s      0.0           0 B       5.0 kB   0
`,
		"behind": `
NODE   STATE     BEHIND   SILENT   APPLY   RESOURCES/S   BYTES/S   SENT     FULL-SYNCS
c      Pending   12       60s      0s      0.5           50 B      100 B    0
b      Pending   2        60s      1s      0.0           0 B       5.0 kB   0
`,
	} {
		o.sortBy, o.most = sort, 0
		if sort == "behind" {
			o.most = 2
		}
		by, err := o.find(nodeColumns)
		if err != nil {
			t.Fatal(err)
		}
		text, err := table(nodeColumns, first(by, rows, o.most))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, text, want)
	}
}

func TestNodesAreAskedFor(t *testing.T) {
	server := asktest.Serve(t, &asktest.Answers{Nodes: &introspectionv1.ListNodesResponse{Nodes: []*introspectionv1.NodeStatus{node("a", synced, 1, 0, time.Millisecond)}}})
	out, _, err := asktest.Run(t, Command(), "nodes", "--server", server, "--interval", "1ms")
	if err != nil || !strings.Contains(out, "\na      Synced   0 ") {
		t.Errorf("error %v\n%s", err, out)
	}
}

func TestServicesBySize(t *testing.T) {
	server := asktest.Serve(t, &asktest.Answers{View: &introspectionv1.GetViewResponse{Services: []*introspectionv1.ServiceView{
		{Name: "demo/small", Ports: []*introspectionv1.PortView{{Frontends: []string{"a"}, ClusterEndpoints: []string{"x"}}}},
		{Name: "demo/large", Ports: []*introspectionv1.PortView{{Frontends: []string{"a", "b"}, ClusterEndpoints: []string{"x", "y", "z"}}, {Frontends: []string{"c"}}}},
	}}})
	out, _, err := asktest.Run(t, Command(), "services", "--server", server, "--node", "a")
	if err != nil {
		t.Error(err)
	}
	expect(t, out, `
SERVICE      ELEMENTS   FRONTENDS   ENDPOINTS
demo/large   9          3           3
demo/small   2          1           1
`)
}

// TestWhatTakesMostIsReadByPrograms, raw and in the same order.
func TestWhatTakesMostIsReadByPrograms(t *testing.T) {
	server := asktest.Serve(t, &asktest.Answers{
		Nodes: &introspectionv1.ListNodesResponse{Revision: 3, Nodes: []*introspectionv1.NodeStatus{node("a", synced, 3, 7000, 2*time.Millisecond), node("b", synced, 3, 1, time.Second)}},
		View:  &introspectionv1.GetViewResponse{Services: []*introspectionv1.ServiceView{{Name: "demo/small", Ports: []*introspectionv1.PortView{{Frontends: []string{"a"}, ClusterEndpoints: []string{"x"}}}}}},
	})
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"nodes", "--interval", "1ms", "--sort-by", "apply", "--limit", "1", "-o", "yaml"}, `
nodes:
- applySeconds: 1
  behind: 0
  bytesPerSecond: 0
  fullSyncs: 0
  node: b
  resourcesPerSecond: 0
  sentBytes: 1
  silentSeconds: 0
  state: Synced
`},
		{[]string{"nodes", "--interval", "1ms", "--sort-by", "apply", "-o", "jsonpath={.nodes[*].node}"}, "b a"},
		{[]string{"services", "--node", "a", "-o", "json"}, `
{
  "services": [
    {
      "service": "demo/small",
      "elements": 2,
      "frontends": 1,
      "endpoints": 1
    }
  ]
}
`},
	} {
		out, _, err := asktest.Run(t, Command(), append(test.arguments, "--server", server)...)
		if err != nil {
			t.Errorf("%v: %v", test.arguments, err)
		}
		expect(t, strings.TrimSpace(out), strings.TrimSpace(test.want))
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for want, arguments := range map[string][]string{
		`--sort-by "size": expected one of behind, silent, apply, resources/s, bytes/s, sent, full-syncs`: {"nodes", "--sort-by", "size"},
		`"node" not set`: {"services"},
	} {
		if _, _, err := asktest.Run(t, Command(), arguments...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %s", arguments, err, want)
		}
	}
}
