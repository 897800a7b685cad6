package status

import (
	"strings"
	"testing"
	"time"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

const (
	synced       = introspectionv1.SyncState_SYNC_STATE_SYNCED
	pending      = introspectionv1.SyncState_SYNC_STATE_PENDING
	disconnected = introspectionv1.SyncState_SYNC_STATE_DISCONNECTED
)

func plane(states map[string]introspectionv1.SyncState) *asktest.Answers {
	a := &asktest.Answers{Nodes: &introspectionv1.ListNodesResponse{Revision: 7}, Problems: &introspectionv1.ListProblemsResponse{}}
	for name, state := range states {
		a.Nodes.Nodes = append(a.Nodes.Nodes, &introspectionv1.NodeStatus{Node: name, State: state})
	}
	return a
}

func TestAllIsWellIfAllReplicasTogetherSaySo(t *testing.T) {
	one := plane(map[string]introspectionv1.SyncState{"a": synced, "b": disconnected})
	other := plane(map[string]introspectionv1.SyncState{"a": disconnected, "b": synced})
	servers := asktest.Serve(t, one) + "," + asktest.Serve(t, other)
	out, _, err := asktest.Run(t, Command(), "--server", servers)
	if err != nil || !strings.Contains(out, "revision 7, 1 nodes connected") || !strings.Contains(out, "2 of 2 are Synced") || !strings.Contains(out, "all in force") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestWhatIsNotWellIsSaidAndIsAnExitCode(t *testing.T) {
	behind := plane(map[string]introspectionv1.SyncState{"a": synced, "b": pending, "c": disconnected})
	held := plane(map[string]introspectionv1.SyncState{"a": synced})
	held.Problems.Brake = &introspectionv1.Brake{Services: []string{"d/a", "d/b"}}
	for want, servers := range map[string]string{
		"1 of 3 are Synced, 1 Pending (b), 1 Disconnected (c)": asktest.Serve(t, behind),
		"the removal of 2 Services":                            asktest.Serve(t, held),
		"no nodes":                                             asktest.Serve(t, plane(nil)),
		"no control plane at unix:/nowhere":                    asktest.Serve(t, plane(map[string]introspectionv1.SyncState{"a": synced})) + ",unix:/nowhere",
	} {
		out, _, err := asktest.Run(t, Command(), "--timeout", "500ms", "--server", servers)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s, %v: want %q and an error", out, err, want)
		}
	}
}

func TestObjectsThatAreNotInForceAreCounted(t *testing.T) {
	a := plane(map[string]introspectionv1.SyncState{"a": synced})
	a.Problems.Problems = []*introspectionv1.Problem{{Object: "Service d/a"}}
	if out, _, err := asktest.Run(t, Command(), "--server", asktest.Serve(t, a)); err != nil || !strings.Contains(out, "1 not in force") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestItWaits(t *testing.T) {
	a := plane(map[string]introspectionv1.SyncState{"a": pending})
	server := asktest.Serve(t, a)
	begun := time.Now()
	if out, _, err := asktest.Run(t, Command(), "--wait", "--for", "300ms", "--server", server); err == nil || time.Since(begun) < 300*time.Millisecond {
		t.Errorf("%s, %v after %s", out, err, time.Since(begun))
	}
}
