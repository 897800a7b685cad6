package explain

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

func answers() *asktest.Answers {
	return &asktest.Answers{Explain: &introspectionv1.ExplainServiceResponse{
		Revision:  41,
		Decisions: []string{"demo/web is served on cluster IP 10.96.0.1", "IPv4 TCP/80: 1 of 2 endpoints serve Cluster traffic"},
		View:      &introspectionv1.ServiceView{},
		Traffic: []*introspectionv1.Traffic{
			{From: "a pod of this node", To: "TCP 10.96.0.1:80", Outcome: "accepted", Endpoints: []string{"10.244.1.2:8080"}, Masquerade: "hairpin", Affinity: durationpb.New(time.Hour)},
			{From: "a process of this node", To: "TCP 10.96.0.1:80", Outcome: "accepted", Endpoints: []string{"10.244.1.2:8080"}, Masquerade: "yes", Affinity: durationpb.New(time.Hour)},
			{From: "elsewhere", To: "TCP 10.96.0.1:80", Outcome: "accepted", Endpoints: []string{"10.244.1.2:8080"}, Masquerade: "yes", Affinity: durationpb.New(time.Hour)},
			{From: "a pod of this node", To: "TCP 192.168.0.2:30080 (node port)", Outcome: "dropped"},
			{From: "elsewhere", To: "TCP 192.168.0.2:30080 (node port)", Outcome: "dropped"},
			{From: "elsewhere, not in 10.0.0.0/8", To: "TCP 192.0.2.1:80", Outcome: "accepted", Endpoints: []string{"a", "b", "c", "d", "e"}, Masquerade: "no"},
		},
		Candidates: []*introspectionv1.Candidate{
			{Address: "10.244.1.2:8080", Node: "node-a", Zone: "zone-a", Slice: "demo/web-1", Cluster: true, Local: true, Reason: "ready"},
			{Address: "10.244.2.2:8080", Node: "node-b", Zone: "zone-b", Slice: "demo/web-1", Reason: "not ready"},
		},
		Node: &introspectionv1.NodeStatus{
			Node: "node-a", State: introspectionv1.SyncState_SYNC_STATE_PENDING, AckedRevision: 40,
			AckedAt: timestamppb.New(now.Add(-5 * time.Second)), ApplyDuration: durationpb.New(2 * time.Millisecond), LastError: "no buffer space",
		},
	}}
}

func run(t *testing.T, a *asktest.Answers) string {
	t.Helper()
	out, _, err := asktest.Run(t, command(func() time.Time { return now }), "demo/web", "--node", "node-a", "--server", asktest.Serve(t, a))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestExplain(t *testing.T) {
	const want = `DECISIONS
  demo/web is served on cluster IP 10.96.0.1
  IPv4 TCP/80: 1 of 2 endpoints serve Cluster traffic

TRAFFIC
  FROM                                TO                                  OUTCOME    ENDPOINTS            SOURCE-SEEN                             AFFINITY
  a pod of this node                  TCP 10.96.0.1:80                    accepted   10.244.1.2:8080      the client's, in a hairpin the node's   1h0m0s
  a process of this node; elsewhere   TCP 10.96.0.1:80                    accepted   10.244.1.2:8080      the node's                              1h0m0s
  anywhere                            TCP 192.168.0.2:30080 (node port)   dropped    -                    -                                       -
  elsewhere, not in 10.0.0.0/8        TCP 192.0.2.1:80                    accepted   a, b, c and 2 more   the client's                            -

ENDPOINTS
  ENDPOINT          PORT   NODE     ZONE     USED-FOR         WHY         SLICE
  10.244.1.2:8080   -      node-a   zone-a   cluster, local   ready       demo/web-1
  10.244.2.2:8080   -      node-b   zone-b   nothing          not ready   demo/web-1

NODE
  node-a is Pending: it has applied revision 40 of 41, 5s ago, in 2ms.
  Its last error: no buffer space
`
	a := answers()
	if diff := cmp.Diff(want, run(t, a)); diff != "" {
		t.Error(diff)
	}
	if a.AskedExplain.GetNode() != "node-a" || a.AskedExplain.GetService() != "demo/web" {
		t.Errorf("asked %v", a.AskedExplain)
	}
}

func TestExplainOfWhatIsNotThereYet(t *testing.T) {
	a := answers()
	a.Explain.View, a.Explain.Node, a.Explain.Candidates = nil, nil, nil
	a.Explain.Traffic = nil
	out := run(t, a)
	for _, want := range []string{"ENDPOINTS\n  none\n", "node-a has never connected to this control plane", "Not in revision 41"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}

func TestArgumentsThatAreMissing(t *testing.T) {
	for want, arguments := range map[string][]string{
		"expected the name of one Service, NAMESPACE/NAME, or --to, and got 0 arguments": {"--node", "node-a"},
		"expected --node, or --from":                                         {"demo/web"},
		`expected no argument beside --to, and got ["demo/web"]`:             {"demo/web", "--to", "demo/web:80", "--node", "node-a"},
		"expected the name of one Service, NAMESPACE/NAME, or --to, and got": {"--from", "node-a"},
	} {
		if _, _, err := asktest.Run(t, Command(), arguments...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", arguments, err, want)
		}
	}
}
