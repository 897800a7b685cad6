package nodes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

type clock struct{ now time.Time }

func newRegistry(cfg Config) (*Registry, *clock) {
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	cfg.Now = func() time.Time { return c.now }
	return NewRegistry(cfg), c
}

func stateOf(t *testing.T, r *Registry, node string, current uint64) string {
	t.Helper()
	status, ok := r.Get(node)
	if !ok {
		return "unknown"
	}
	return strings.TrimPrefix(status.State(current).String(), "SYNC_STATE_")
}

func TestStatesFollowANodesLife(t *testing.T) {
	r, _ := newRegistry(Config{})
	var c *Connection
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "unknown"},
		{func() { c = r.Connect(Peer{Node: "n"}) }, "CONNECTING"},
		{func() { c.Sent(7, 10, 1000, true) }, "CONNECTING"},
		{func() { c.Acked(Ack{Revision: 6}) }, "PENDING"},
		{func() { c.Acked(Ack{Revision: 7}) }, "SYNCED"},
		{func() { c.Acked(Ack{Revision: 7, Error: "ENOMEM"}) }, "REJECTED"},
		{func() { c.Acked(Ack{Revision: 7, Rejected: []*discoveryv1.RejectedResource{{}}}) }, "REJECTED"},
		{func() { c.Acked(Ack{Revision: 7}) }, "SYNCED"},
		{func() { c.Diverged() }, "DIVERGED"},
		{func() { c.Close("digest mismatch") }, "DISCONNECTED"},
		{func() { c = r.Connect(Peer{Node: "n"}) }, "DIVERGED"},
		{func() { c.Acked(Ack{Revision: 7}) }, "SYNCED"},
	} {
		step.do()
		if got := stateOf(t, r, "n", 7); got != step.want {
			t.Fatalf("got %s, want %s", got, step.want)
		}
	}
	status, _ := r.Get("n")
	if status.FullSyncs != 1 || status.DigestMismatches != 1 || status.SentBytes != 0 {
		t.Errorf("got %+v", status)
	}
}

func TestARevisionThatChangesNothingForANodeLeavesItSynced(t *testing.T) {
	r, _ := newRegistry(Config{})
	c := r.Connect(Peer{Node: "n"})
	c.Unchanged(3)
	if got := stateOf(t, r, "n", 3); got != "CONNECTING" {
		t.Errorf("got %s", got)
	}
	c.Sent(4, 1, 1, false)
	c.Acked(Ack{Revision: 4})
	c.Unchanged(5)
	if got := stateOf(t, r, "n", 5); got != "SYNCED" {
		t.Errorf("got %s", got)
	}
}

func TestANewerConnectionTakesTheEntryOver(t *testing.T) {
	r, _ := newRegistry(Config{})
	older := r.Connect(Peer{Node: "n", Instance: "1"})
	r.Connect(Peer{Node: "n", Instance: "2"})
	older.Acked(Ack{Revision: 9})
	older.Close("taken over")
	status, _ := r.Get("n")
	if !status.Connected || status.Instance != "2" || status.AckedRevision != 0 {
		t.Errorf("got %+v", status)
	}
}

func TestNodesThatAreGoneAreForgottenUnlessTheClusterHasThem(t *testing.T) {
	r, c := newRegistry(Config{Known: func(node string) bool { return node == "known" }})
	for _, node := range []string{"known", "gone", "back"} {
		r.Connect(Peer{Node: node}).Close("bye")
	}
	r.Connect(Peer{Node: "back"})
	c.now = c.now.Add(59 * time.Minute)
	if all := r.List(); len(all) != 3 {
		t.Errorf("after 59 min: %v", all)
	}
	c.now = c.now.Add(2 * time.Minute)
	all := r.List()
	if len(all) != 2 || all[0].Node != "back" || all[1].Node != "known" {
		t.Errorf("after 61 min: %v", all)
	}
}

func TestNodesThatAreGoneAreBounded(t *testing.T) {
	r, _ := newRegistry(Config{Max: 10})
	for i := range 100 {
		r.Connect(Peer{Node: fmt.Sprintf("n%03d", i)}).Close("bye")
	}
	if all := r.List(); len(all) != 10 || all[0].Node != "n090" {
		t.Errorf("%d nodes, first %v", len(all), all[0].Node)
	}
}

func TestWhatAPeerSaysIsBounded(t *testing.T) {
	r, _ := newRegistry(Config{})
	c := r.Connect(Peer{Node: "n", AgentVersion: strings.Repeat("v", 1<<20)})
	rejected := make([]*discoveryv1.RejectedResource, 1000)
	for i := range rejected {
		rejected[i] = &discoveryv1.RejectedResource{Reason: strings.Repeat("r", 1<<12)}
	}
	warnings := make([]*discoveryv1.Warning, 1000)
	for i := range warnings {
		warnings[i] = &discoveryv1.Warning{Reason: strings.Repeat("r", 1<<12), Message: strings.Repeat("m", 1<<12), Name: &discoveryv1.ResourceName{Name: strings.Repeat("n", 1<<12)}}
	}
	c.Acked(Ack{Error: strings.Repeat("e", 1<<20), Rejected: rejected, Warnings: warnings})
	status, _ := r.Get("n")
	if len(status.AgentVersion) > 1100 || len(status.LastError) > 1100 || len(status.Rejected) != maxRejected || len(status.Rejected[0].GetReason()) > 1100 {
		t.Error("unbounded")
	}
	if w := status.Warnings; len(w) != maxRejected || len(w[0].GetReason()+w[0].GetMessage()+w[0].GetName().GetName()) > 3300 {
		t.Error("warnings are unbounded")
	}
}

// TestANodesComplaintIsNewsOnce: not again with each Ack, nor when it reconnects.
func TestANodesComplaintIsNewsOnce(t *testing.T) {
	r, _ := newRegistry(Config{})
	ack := func(warning, rejected string) Ack {
		a := Ack{Revision: 1}
		if warning != "" {
			a.Warnings = []*discoveryv1.Warning{{Message: warning}}
		}
		if rejected != "" {
			a.Rejected = []*discoveryv1.RejectedResource{{Reason: rejected}}
		}
		return a
	}
	c := r.Connect(Peer{Node: "n", Instance: "1"})
	for i, step := range []struct {
		warning, rejected   string
		warnings, rejected2 int
		reconnect           bool
	}{
		{"port taken", "", 1, 0, false},
		{"port taken", "bad", 0, 1, false},
		{"port taken", "bad", 0, 0, true},
		{"another", "bad", 1, 0, false},
		{"", "", 0, 0, false},
		{"another", "", 1, 0, false},
	} {
		if step.reconnect {
			c.Close("bye")
			c = r.Connect(Peer{Node: "n", Instance: "1"})
		}
		if news := c.Acked(ack(step.warning, step.rejected)); len(news.Warnings) != step.warnings || len(news.Rejected) != step.rejected2 {
			t.Errorf("step %d: news %+v", i, news)
		}
	}
}

func TestAnAgentsStartIsToldFromItsReconnection(t *testing.T) {
	r, _ := newRegistry(Config{})
	for i, step := range []struct {
		instance string
		started  bool
	}{{"1", true}, {"1", false}, {"2", true}, {"2", false}} {
		if c := r.Connect(Peer{Node: "n", Instance: step.instance}); c.Started() != step.started {
			t.Errorf("step %d: started %v", i, c.Started())
		}
	}
	var observer *Connection
	if observer.Started() {
		t.Error("an observer is no agent")
	}
}

func TestCountsAndTheOldestRevision(t *testing.T) {
	r, _ := newRegistry(Config{})
	if _, ok := r.Oldest(); ok {
		t.Error("a revision of nobody")
	}
	r.Connect(Peer{Node: "a"}).Acked(Ack{Revision: 5})
	r.Connect(Peer{Node: "b"}).Acked(Ack{Revision: 4})
	r.Connect(Peer{Node: "c"}).Close("bye")
	if oldest, _ := r.Oldest(); oldest != 4 {
		t.Errorf("oldest %d", oldest)
	}
	counts := r.Count(5)
	if counts[introspectionv1.SyncState_SYNC_STATE_SYNCED] != 1 || counts[introspectionv1.SyncState_SYNC_STATE_PENDING] != 1 ||
		counts[introspectionv1.SyncState_SYNC_STATE_DISCONNECTED] != 1 {
		t.Errorf("counts %v", counts)
	}
}

func TestAnObserversConnectionReportsNothing(*testing.T) {
	var c *Connection
	c.Sent(1, 1, 1, true)
	c.Acked(Ack{})
	c.Close("bye")
}

func TestARefusedStreamIsToldOfItsNode(t *testing.T) {
	r, c := newRegistry(Config{Max: 2})
	r.Refused(Peer{Node: "n", Address: "10.0.0.1:1", Instance: "1"}, "too many")
	if s, _ := r.Get("n"); s.Connected || s.LastError != "too many" || s.Address != "10.0.0.1:1" || s.DisconnectedAt != c.now {
		t.Errorf("a node that never had a stream: %+v", s)
	}
	connection := r.Connect(Peer{Node: "n", Instance: "1"})
	if !connection.Started() {
		t.Error("an agent that was only refused before is not told as started")
	}
	r.Refused(Peer{Node: "n"}, strings.Repeat("r", 1<<12))
	if s, _ := r.Get("n"); !s.Connected || s.LastError != "" || len(s.Refused) > 1100 || s.RefusedAt != c.now || s.Instance != "1" {
		t.Errorf("a node that has a stream: %+v", s)
	}
	connection.Close("bye")
	for range 100 {
		r.Refused(Peer{Node: "n"}, "again")
	}
	if s, _ := r.Get("n"); s.LastError != "again" || r.gone.Len() != 1 {
		t.Errorf("a node that had a stream: %+v, %d are gone", s, r.gone.Len())
	}
	for i := range 100 {
		r.Refused(Peer{Node: fmt.Sprint(i)}, "no")
	}
	if all := r.List(); len(all) != 2 {
		t.Errorf("%d nodes are remembered", len(all))
	}
}

// TestWhatAnAgentWasRefusedItselfIsOverOnceItIsConnected: that of another agent of the
// node's name is not.
func TestWhatAnAgentWasRefusedItselfIsOverOnceItIsConnected(t *testing.T) {
	for instance, want := range map[string]string{"1": "", "2": "not synced"} {
		r, _ := newRegistry(Config{})
		r.Refused(Peer{Node: "n", Instance: "1"}, "not synced")
		r.Connect(Peer{Node: "n", Instance: instance})
		if status, _ := r.Get("n"); status.Refused != want {
			t.Errorf("instance %s: refused %q, want %q", instance, status.Refused, want)
		}
	}
}
