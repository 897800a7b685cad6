package diff

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/internal/program"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

func answer(digest uint64, differences ...*discoveryv1.KernelDifference) *introspectionv1.CompareNodeResponse {
	return &introspectionv1.CompareNodeResponse{SentRevision: 40, SentDigest: 7, Revision: 41,
		Comparison: &discoveryv1.Comparison{Revision: 40, Digest: digest, Differences: differences, Frontends: 12}}
}

func nodes(names ...string) *introspectionv1.ListNodesResponse {
	list := &introspectionv1.ListNodesResponse{}
	for _, name := range names {
		list.Nodes = append(list.Nodes, &introspectionv1.NodeStatus{Node: name})
	}
	return list
}

var lost = &discoveryv1.KernelDifference{Family: "IPv4", Place: "map service-ips", Key: "TCP 10.96.0.1:80", Wanted: "pick-2"}

func TestDiff(t *testing.T) {
	for name, test := range map[string]struct {
		compared map[string]*introspectionv1.CompareNodeResponse
		status   int
		want     string
	}{
		"all is as it should be": {
			map[string]*introspectionv1.CompareNodeResponse{"a": answer(7), "b": answer(7)}, 0, `
NODE   SENT    HELD      KERNEL
a      40/41   as sent   as held, 12 frontends
b      40/41   as sent   as held, 12 frontends
`},
		"a kernel differs": {
			map[string]*introspectionv1.CompareNodeResponse{"a": answer(7), "b": answer(7, lost)}, 1, `
NODE   SENT    HELD      KERNEL
a      40/41   as sent   as held, 12 frontends
b      40/41   as sent   1 difference

NODE   FAMILY   PLACE             KEY                WANTED   FOUND
b      IPv4     map service-ips   TCP 10.96.0.1:80   pick-2   -
`},
		"an agent holds something else": {
			map[string]*introspectionv1.CompareNodeResponse{"a": answer(7), "b": answer(8)}, 1, `
NODE   SENT    HELD                                          KERNEL
a      40/41   as sent                                       as held, 12 frontends
b      40/41   0000000000000008, sent was 0000000000000007   as held, 12 frontends
`},
		"a node cannot be asked": {
			map[string]*introspectionv1.CompareNodeResponse{"a": answer(7)}, 2, `
NODE   SENT    HELD      KERNEL
a      40/41   as sent   as held, 12 frontends
b      -       -         node "b" is not connected to this control plane
`},
	} {
		t.Run(name, func(t *testing.T) {
			server := asktest.Serve(t, &asktest.Answers{Nodes: nodes("a", "b"), Compared: test.compared})
			out, _, err := asktest.Run(t, Command(), "--server", server)
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), out); diff != "" {
				t.Error(diff)
			}
			status := 0
			if failure := (*program.Failure)(nil); errors.As(err, &failure) {
				status = failure.Status
			}
			if status != test.status {
				t.Errorf("exit status %d (%v), want %d", status, err, test.status)
			}
		})
	}
}

func TestOneNodeForPrograms(t *testing.T) {
	server := asktest.Serve(t, &asktest.Answers{Compared: map[string]*introspectionv1.CompareNodeResponse{"b": answer(7, lost)}})
	out, _, err := asktest.Run(t, Command(), "--server", server, "--node", "b", "-o", "yaml")
	if err == nil || err.Error() != "1 of 1 nodes differ" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"node: b\n", "differs: true\n", "place: map service-ips\n", `sentRevision: "40"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}

func TestWithoutNodesThereIsNothingToCompare(t *testing.T) {
	server := asktest.Serve(t, &asktest.Answers{Nodes: nodes()})
	if _, _, err := asktest.Run(t, Command(), "--server", server); err == nil || err.Error() != "no node has connected yet" {
		t.Errorf("error %v", err)
	}
}
