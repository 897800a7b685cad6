package round

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

type rig struct {
	objects   *cluster.Store
	snapshots *snapshot.Store
	results   []Result
	// cost is how long a round takes, once there is one.
	cost time.Duration
}

func start(t *testing.T) *rig {
	r, _ := startDriver(t)
	return r
}

func startDriver(t *testing.T) (*rig, *Driver) {
	return startCostly(t, 0)
}

func startCostly(t *testing.T, cost time.Duration) (*rig, *Driver) {
	r := &rig{objects: cluster.NewStore(), snapshots: snapshot.NewStore(time.Now), cost: cost}
	driver := New(Config{
		Cluster: r.objects, Snapshots: r.snapshots, Settings: compile.DefaultSettings(), Logger: hclog.NewNullLogger(),
		Observe: func(result Result) { r.results = append(r.results, result); time.Sleep(r.cost) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- driver.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r, driver
}

func service(name string, port uint16) *model.Service {
	return &model.Service{Key: model.Key{Namespace: "demo", Name: name}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		Ports: []model.Port{{Protocol: model.TCP, Port: port}}, Internal: model.Cluster, External: model.Cluster}
}

// TestNothingIsServedBeforeTheSourceIsSynced: a half-read cluster must never reach
// a node.
func TestNothingIsServedBeforeTheSourceIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.objects.Update(func(tx *cluster.Tx) {
			tx.SetService(service("a", 80))
			tx.SetNode(&model.Node{Name: "n1"})
			tx.SetServiceCIDR(&model.ServiceCIDR{Name: "k", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}})
		})
		synctest.Wait()
		if r.snapshots.Current() != nil {
			t.Fatal("an unsynced source is served")
		}
		r.objects.Update(func(tx *cluster.Tx) { tx.SetService(service("b", 80)); tx.SetSynced() })
		synctest.Wait()
		view := r.snapshots.Current().View("n1")
		for _, name := range []resource.Name{
			{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/a"}, {Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/b"},
			{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: "n1"}, {Kind: discoveryv1.Kind_KIND_CLUSTER_CONFIG, Name: resource.ClusterConfigName},
		} {
			if view.Get(name) == nil {
				t.Errorf("%s is missing: what came before the source was synced must not be lost", name)
			}
		}
		if r.snapshots.Current().Revision != 1 {
			t.Errorf("revision %d, want everything in the first", r.snapshots.Current().Revision)
		}
	})
}

func TestAnEmptyClusterIsServedOnceItIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.objects.Update(func(tx *cluster.Tx) { tx.SetSynced() })
		synctest.Wait()
		if r.snapshots.Current() == nil {
			t.Fatal("not served")
		}
		if cidrs := r.serviceCIDRs(t); len(cidrs) != 0 {
			t.Errorf("ServiceCIDRs %v, want a ClusterConfig that says there are none", cidrs)
		}
	})
}

// serviceCIDRs are those that all nodes are told.
func (r *rig) serviceCIDRs(t *testing.T) []string {
	t.Helper()
	entry := r.snapshots.Current().View("").Get(resource.Name{Kind: discoveryv1.Kind_KIND_CLUSTER_CONFIG, Name: resource.ClusterConfigName})
	if entry == nil {
		t.Fatal("there is no ClusterConfig")
	}
	decoded, err := entry.Decode()
	if err != nil {
		t.Fatal(err)
	}
	return decoded.GetClusterConfig().GetServiceCidrs()
}

// TestServiceCIDRsAreFollowed is S9.
func TestServiceCIDRsAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		prefix := netip.MustParsePrefix("10.96.0.0/16")
		r.objects.Update(func(tx *cluster.Tx) { tx.SetSynced() })
		synctest.Wait()
		r.objects.Update(func(tx *cluster.Tx) {
			tx.SetServiceCIDR(&model.ServiceCIDR{Name: "k", CIDRs: []netip.Prefix{prefix}})
		})
		synctest.Wait()
		if got := r.serviceCIDRs(t); len(got) != 1 || got[0] != prefix.String() {
			t.Errorf("ServiceCIDRs %v, want %s", got, prefix)
		}
		r.objects.Update(func(tx *cluster.Tx) { tx.DeleteServiceCIDR("k") })
		synctest.Wait()
		if got := r.serviceCIDRs(t); len(got) != 0 {
			t.Errorf("ServiceCIDRs %v, want none any more", got)
		}
	})
}

// TestASnapshotSaysWhichPointOfTheSourceItReflects: a subscriber must not go back
// behind it.
func TestASnapshotSaysWhichPointOfTheSourceItReflects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		want := model.SourceVersion{Source: "s", Services: 7, EndpointSlices: 8, Nodes: 9, ServiceCIDRs: 10}
		r.objects.Update(func(tx *cluster.Tx) { tx.SetService(service("a", 80)); tx.SetVersion(want); tx.SetSynced() })
		synctest.Wait()
		if got := r.snapshots.Current().Source; got != want || r.snapshots.Seen() != want {
			t.Errorf("source %v, seen %v, want %v", got, r.snapshots.Seen(), want)
		}
	})
}

// TestChangesGatherAfterARoundThatTookLong: it takes a quarter of the time.
func TestChangesGatherAfterARoundThatTookLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := startCostly(t, 100*time.Millisecond)
		r.objects.Update(func(tx *cluster.Tx) { tx.SetSynced() })
		begun := time.Now()
		for port := range uint16(490) { // One each millisecond: until shortly before the pause ends.
			r.objects.Update(func(tx *cluster.Tx) { tx.SetService(service("a", port+1)) })
			time.Sleep(time.Millisecond)
		}
		if now := r.snapshots.Current().Revision; now != 1 {
			t.Errorf("revision %d after %s, want 1", now, time.Since(begun))
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if now := r.snapshots.Current().Revision; now != 2 || r.results[1].Services != 1 {
			t.Errorf("revision %d after %s, want all changes in the second", now, time.Since(begun))
		}
	})
}

func TestAChangeIsCompiledAtOnceWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.objects.Update(func(tx *cluster.Tx) { tx.SetSynced() })
		time.Sleep(time.Minute)
		synctest.Wait()
		before := time.Now()
		r.objects.Update(func(tx *cluster.Tx) { tx.SetService(service("a", 80)) })
		synctest.Wait()
		if r.snapshots.Current().Revision != 2 || time.Since(before) != 0 {
			t.Errorf("revision %d after %s", r.snapshots.Current().Revision, time.Since(before))
		}
	})
}

func TestARoundCompilesWhatChangedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		r.objects.Update(func(tx *cluster.Tx) {
			for _, name := range []string{"a", "b", "c"} {
				tx.SetService(service(name, 80))
			}
			tx.SetSynced()
		})
		synctest.Wait()
		r.objects.Update(func(tx *cluster.Tx) { tx.SetService(service("b", 81)) })
		synctest.Wait()
		if last := r.results[len(r.results)-1]; last.Services != 1 || last.Resources != 1 {
			t.Errorf("the round was %+v, want one Service and one resource", last)
		}
		r.objects.Update(func(tx *cluster.Tx) { tx.DeleteService(model.Key{Namespace: "demo", Name: "b"}) })
		synctest.Wait()
		if r.snapshots.Current().View("").Get(resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/b"}) != nil {
			t.Error("a deleted Service is still served")
		}
	})
}

// TestATriggerTimeAloneSendsNothing: an annotation is no content.
func TestATriggerTimeAloneSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		slice := func(second int, addresses ...string) *model.Slice {
			s := &model.Slice{Key: model.Key{Namespace: "demo", Name: "a-1"}, Service: "a",
				Ports: []model.SlicePort{{Protocol: model.TCP, Port: 8080}}, Triggered: time.Unix(int64(second), 0).UTC()}
			for _, address := range addresses {
				s.Endpoints = append(s.Endpoints, model.Endpoint{Addr: netip.MustParseAddr(address), Ready: true, Serving: true})
			}
			return s
		}
		set := func(s *model.Slice) *discoveryv1.Resource {
			t.Helper()
			r.objects.Update(func(tx *cluster.Tx) { tx.SetService(service("a", 80)); tx.SetSlice(s); tx.SetSynced() })
			time.Sleep(time.Minute)
			synctest.Wait()
			sent, err := r.snapshots.Current().View("").Get(resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "demo/a-1"}).Decode()
			if err != nil {
				t.Fatal(err)
			}
			return sent
		}
		first := set(slice(1, "10.0.0.1"))
		before := r.snapshots.Current()
		same := set(slice(2, "10.0.0.1"))
		if r.snapshots.Current() != before || same.GetVersion() != first.GetVersion() {
			t.Errorf("revision %d, version %x; want %d, %x", r.snapshots.Current().Revision, same.GetVersion(), before.Revision, first.GetVersion())
		}
		changed := set(slice(3, "10.0.0.1", "10.0.0.2"))
		if r.snapshots.Current().Revision != before.Revision+1 || changed.GetLastChangeTriggerTime().GetSeconds() != 3 {
			t.Errorf("revision %d, triggered at %v", r.snapshots.Current().Revision, changed.GetLastChangeTriggerTime())
		}
	})
}

func TestPauseIsByCostAndBounded(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		0: 0, time.Millisecond: 4 * time.Millisecond, 100 * time.Millisecond: 400 * time.Millisecond, time.Minute: time.Second,
	} {
		if got := pause(cost); got != want {
			t.Errorf("after a round of %s: %s, want %s", cost, got, want)
		}
	}
}

// TestHowLongAgoAChangeWasMadeIsTold: once for each, and not for what was there before.
func TestHowLongAgoAChangeWasMadeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		slice := func(at time.Time) *model.Slice {
			return &model.Slice{Key: model.Key{Namespace: "demo", Name: "web-1"}, Service: "web", Triggered: at, Ports: []model.SlicePort{{Protocol: model.TCP, Port: 8080}},
				Endpoints: []model.Endpoint{{Addr: netip.AddrFrom4([4]byte{10, 244, 0, byte(at.Second())}), Ready: true, Serving: true}}}
		}
		set := func(s *model.Slice, port uint16) []time.Duration {
			r.objects.Update(func(tx *cluster.Tx) {
				tx.SetService(service("web", port))
				tx.SetSlice(s)
				tx.SetSynced()
			})
			time.Sleep(5 * time.Second)
			synctest.Wait()
			return r.results[len(r.results)-1].Lags
		}
		first := time.Now()
		if lags := set(slice(first), 80); len(lags) > 0 {
			t.Errorf("what was there before lags by %v", lags)
		}
		if lags := set(slice(time.Now().Add(-3*time.Second)), 80); len(lags) != 1 || lags[0] != 3*time.Second {
			t.Errorf("a change of 3 s ago lags by %v", lags)
		}
		if lags := set(slice(first.Add(2*time.Second)), 81); len(lags) > 0 {
			t.Errorf("a change of the Service lags by %v", lags)
		}
		if lags := set(slice(time.Now().Add(time.Second)), 81); len(lags) != 1 || lags[0] != 0 {
			t.Errorf("a change of another clock lags by %v", lags)
		}
	})
}
