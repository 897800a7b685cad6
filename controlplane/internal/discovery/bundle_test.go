package discovery

import (
	"runtime"
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

func TestABundleIsMadeOnceForAllStreams(t *testing.T) {
	r := newReplica(t, nil)
	defer r.stop()
	for _, node := range []string{"a", "b"} {
		r.commit(t, node, nodeConfig(node, "z1"))
	}
	r.commit(t, "services", services(5, 80)...)
	old := r.store.Current()
	r.commit(t, "services", services(5, 81)...)
	now, all := r.store.Current(), kindsOf(nil)
	difference := func(node string, now *snapshot.Snapshot) *bundle {
		tx, _, ok := r.server.difference(old.View(node), 0, now, all)
		if !ok {
			t.Fatal("the log does not reach back")
		}
		return tx.bundle
	}
	if a := difference("a", now); a != difference("b", now) || a.parts[0].resources != 5 {
		t.Error("two nodes of a zone are not sent the same bundle of 5 resources")
	}
	if r.server.everything(now.View("a"), all).bundle != r.server.everything(now.View("b"), all).bundle {
		t.Error("two nodes of a zone are not sent the same bundle of everything")
	}
	r.commit(t, "services", services(5, 82)...)
	newest := difference("a", r.store.Current())
	if newest == difference("a", now) || newest != difference("b", r.store.Current()) {
		t.Error("who still goes to an older snapshot has changed what the others take")
	}
}

func TestABundleThatNobodySendsIsForgotten(t *testing.T) {
	var s shelf[string]
	made := 0
	take := func(key string) *bundle {
		return s.take(1, key, func() *bundle {
			made++
			return &bundle{parts: []part{{fields: make([]byte, 100)}}}
		})
	}
	sent := take("sent")
	for range 3 {
		take("done")
		runtime.GC()
		take("sent")
	}
	runtime.KeepAlive(sent)
	if made != 4 {
		t.Errorf("%d bundles were made: expected 3 that nobody kept, and one that somebody did", made)
	}
}
