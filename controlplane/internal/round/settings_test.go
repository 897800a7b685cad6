package round

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/labels"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func TestChangedSettingsReachAllNodesAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := startDriver(t)
		r.objects.Update(func(tx *cluster.Tx) {
			tx.SetNode(&model.Node{Name: "a"})
			tx.SetNode(&model.Node{Name: "b"})
			tx.SetService(service("web", 80))
			tx.SetSynced()
		})
		synctest.Wait()
		changed := compile.DefaultSettings()
		changed.MasqueradeAll = true
		d.Configure(changed)
		synctest.Wait()
		if last := r.results[len(r.results)-1]; last.Services != 0 || last.Resources != 2 {
			t.Errorf("the round was %+v, want two NodeConfigs and no Service", last)
		}
		entry := r.snapshots.Current().View("b").Get(resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: "b"})
		if decoded, err := entry.Decode(); err != nil || !decoded.GetNodeConfig().GetMasqueradeAll() {
			t.Errorf("the node is told %v, error %v", decoded, err)
		}
		rounds := len(r.results)
		d.Configure(changed)
		synctest.Wait()
		if len(r.results) != rounds {
			t.Error("equal settings made a revision")
		}
	})
}

func TestServicesFollowWhatTheSettingsAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := startDriver(t)
		outside := service("web", 80)
		outside.ExternalIPs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		r.objects.Update(func(tx *cluster.Tx) { tx.SetService(outside); tx.SetService(service("other", 80)); tx.SetSynced() })
		synctest.Wait()
		served := func() int {
			entry := r.snapshots.Current().View("").Get(resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/web"})
			decoded, err := entry.Decode()
			if err != nil {
				t.Fatal(err)
			}
			return len(decoded.GetService().GetExternalIps())
		}
		for _, ignore := range []bool{true, false} {
			changed := compile.DefaultSettings()
			changed.IgnoreExternalIPs = ignore
			d.Configure(changed)
			synctest.Wait()
			if got := served(); (got == 0) != ignore {
				t.Errorf("ignoring external IPs %v: %d are served", ignore, got)
			}
		}
	})
}

// TestSettingsBeforeTheFirstRoundCount: the source may take its time.
func TestSettingsBeforeTheFirstRoundCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := startDriver(t)
		changed := compile.DefaultSettings()
		changed.MasqueradeBit = 20
		d.Configure(changed)
		synctest.Wait()
		r.objects.Update(func(tx *cluster.Tx) { tx.SetNode(&model.Node{Name: "a"}); tx.SetSynced() })
		synctest.Wait()
		entry := r.snapshots.Current().View("a").Get(resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: "a"})
		if decoded, err := entry.Decode(); err != nil || decoded.GetNodeConfig().GetMasqueradeBit() != 20 {
			t.Errorf("the node is told %v, error %v", decoded, err)
		}
	})
}

// TestNodesAreConfiguredByTheirLabelsAtOnce: labels that change, or groups, recompute the
// nodes that they are about.
func TestNodesAreConfiguredByTheirLabelsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := startDriver(t)
		node := func(name, role string) {
			r.objects.Update(func(tx *cluster.Tx) {
				tx.SetNode(&model.Node{Name: name, Labels: map[string]string{"role": role}})
				tx.SetSynced()
			})
			synctest.Wait()
		}
		bit := func(name string) uint32 {
			entry := r.snapshots.Current().View(name).Get(resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: name})
			decoded, err := entry.Decode()
			if err != nil {
				t.Fatal(err)
			}
			return decoded.GetNodeConfig().GetMasqueradeBit()
		}
		group := func(bit uint32) compile.Group {
			settings := compile.DefaultSettings()
			settings.MasqueradeBit = bit
			return compile.Group{Name: "edge", Selector: labels.SelectorFromSet(labels.Set{"role": "edge"}), Settings: settings}
		}
		node("a", "edge")
		node("b", "worker")
		settings := compile.DefaultSettings()
		settings.Groups = []compile.Group{group(3)}
		d.Configure(settings)
		synctest.Wait()
		if last := r.results[len(r.results)-1]; bit("a") != 3 || bit("b") != settings.MasqueradeBit || last.Resources != 1 {
			t.Errorf("bits %d and %d after %+v", bit("a"), bit("b"), last)
		}
		node("b", "edge")
		if last := r.results[len(r.results)-1]; bit("b") != 3 || last.Resources != 1 {
			t.Errorf("bit %d after the labels changed, %+v", bit("b"), last)
		}
		revision := r.snapshots.Current().Revision
		r.objects.Update(func(tx *cluster.Tx) {
			tx.SetNode(&model.Node{Name: "a", Labels: map[string]string{"role": "edge", "other": "1"}})
		})
		synctest.Wait()
		if r.snapshots.Current().Revision != revision {
			t.Error("a label that selects nothing made a revision")
		}
		settings.Groups = []compile.Group{group(4)}
		d.Configure(settings)
		synctest.Wait()
		if bit("a") != 4 || bit("b") != 4 {
			t.Errorf("bits %d and %d after the group changed", bit("a"), bit("b"))
		}
	})
}
