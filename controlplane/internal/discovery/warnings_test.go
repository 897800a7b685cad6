package discovery

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
)

// heard notes what it is told, a word each.
type heard struct {
	mu   sync.Mutex
	list []string
}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, fmt.Sprintf(format, args...))
}

func (h *heard) AgentStarted(peer nodes.Peer) { h.add("%s starts %s", peer.Node, peer.Instance) }
func (h *heard) NodeWarned(node string, w *discoveryv1.Warning) {
	h.add("%s warns of %s: %s", node, resource.NameOf(w.GetName()), w.GetMessage())
}
func (h *heard) NodeRejected(node string, r *discoveryv1.RejectedResource) {
	h.add("%s rejects %s: %s", node, resource.NameOf(r.GetName()), r.GetReason())
}

func (h *heard) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := strings.Join(h.list, "; "); got != strings.Join(want, "; ") {
		t.Errorf("%s: heard %q, want %q", when, got, want)
	}
	h.list = nil
}

// TestWhatANodeComplainsOfIsHeardOnce follows a real subscriber over two streams.
func TestWhatANodeComplainsOfIsHeardOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		events := &heard{}
		r := newReplica(t, func(cfg *Config) { cfg.Events = events })
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		web := &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "d/web"}
		warnings := []*discoveryv1.Warning{{Name: web, Reason: "Some", Message: "port taken"}}
		rejected := []*discoveryv1.RejectedResource{{Name: web, Reason: "bad address"}}
		result := subscribe.Result{Warnings: warnings, Rejected: rejected}
		answer := func() subscribe.Result { return result }

		a := follow(t, "n", r.dial, func(cfg *subscribe.Config) { cfg.Handler.(*agent).result = answer })
		events.expect(t, "connected", "n starts 1", "n warns of Service d/web: port taken", "n rejects Service d/web: bad address")
		r.commit(t, "services", services(4, 80)...)
		events.expect(t, "with another transaction")
		a.Acknowledge(subscribe.Result{Warnings: append(warnings, &discoveryv1.Warning{Name: web, Message: "more"}), Rejected: rejected})
		events.expect(t, "with late news", "n warns of Service d/web: more")
		if status, _ := r.nodes.Get("n"); len(status.Warnings) != 2 {
			t.Errorf("status has warnings %v", status.Warnings)
		}
		a.stop()
		b := follow(t, "n", r.dial, func(cfg *subscribe.Config) { cfg.Node = &discoveryv1.Node{Id: "n", Instance: "2"} })
		defer b.stop()
		events.expect(t, "another process, all well", "n starts 2")
		if status, _ := r.nodes.Get("n"); len(status.Warnings) != 0 {
			t.Errorf("status has warnings %v after they are over", status.Warnings)
		}
	})
}
