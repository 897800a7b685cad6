package round

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// braked is a driver with a brake, over a source of which the test is the author.
type braked struct {
	t         *testing.T
	objects   *cluster.Store
	snapshots *snapshot.Store
	*Driver
	log journal
	// list is what a full list of the source returns.
	list func() ([]model.Key, error)
}

// journal is what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// inBrakeBubble runs a test with n Services, demo/s0 and so on, in fake time.
func inBrakeBubble(t *testing.T, n int, test func(*braked)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &braked{t: t, objects: cluster.NewStore(), snapshots: snapshot.NewStore(time.Now)}
		b.list = func() ([]model.Key, error) { return b.objects.Services(), nil }
		b.Driver = New(Config{
			Cluster: b.objects, Snapshots: b.snapshots, Settings: compile.DefaultSettings(), Brake: brake.DefaultLimits(),
			Logger: hclog.New(&hclog.LoggerOptions{Output: &b.log}),
			List:   func(context.Context) ([]model.Key, error) { return b.list() },
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		b.update(func(tx *cluster.Tx) {
			for i := range n {
				tx.SetService(numbered(i, 80))
				tx.SetSlice(sliceOf(i, "10.1.0.1"))
			}
			tx.SetSynced()
		})
		test(b)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func numbered(i int, port uint16) *model.Service {
	return &model.Service{
		Key: model.Key{Namespace: "demo", Name: fmt.Sprintf("s%d", i)}, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i / 250), byte(i%250 + 1)})},
		Ports: []model.Port{{Protocol: model.TCP, Port: port}}, Internal: model.Cluster, External: model.Cluster,
	}
}

func sliceOf(i int, address string) *model.Slice {
	name := fmt.Sprintf("s%d", i)
	return &model.Slice{
		Key: model.Key{Namespace: "demo", Name: name + "-1"}, Service: name, Ports: []model.SlicePort{{Protocol: model.TCP, Port: 8080}},
		Endpoints: []model.Endpoint{{Addr: netip.MustParseAddr(address), Ready: true, Serving: true}},
	}
}

// update changes the source, and lets rounds run.
func (b *braked) update(fn func(*cluster.Tx)) {
	b.objects.Update(fn)
	time.Sleep(time.Second)
	synctest.Wait()
}

// remove deletes the numbered Services and their slices.
func remove(from, to int) func(*cluster.Tx) {
	return func(tx *cluster.Tx) {
		for i := from; i < to; i++ {
			tx.DeleteService(numbered(i, 80).Key)
			tx.DeleteSlice(sliceOf(i, "10.1.0.1").Key)
		}
	}
}

// serves checks how many Services and EndpointSets nodes have, and how many wait.
func (b *braked) serves(services, held int) {
	b.t.Helper()
	synctest.Wait()
	count := map[discoveryv1.Kind]int{}
	for entry := range b.snapshots.Current().View("").All(func(discoveryv1.Kind) bool { return true }) {
		count[entry.Name.Kind]++
	}
	sets := count[discoveryv1.Kind_KIND_ENDPOINT_SET]
	if got := count[discoveryv1.Kind_KIND_SERVICE]; got != services || sets != services || len(b.Held().Held) != held {
		b.t.Errorf("%d Services and %d EndpointSets are served, %d held; want %d and %d", got, sets, len(b.Held().Held), services, held)
	}
	problems := b.objects.Problems()
	if (len(problems) > 0) != (held > 0) {
		b.t.Errorf("problems %v", problems)
	}
}

func (b *braked) get(kind discoveryv1.Kind, name string) *discoveryv1.Resource {
	b.t.Helper()
	entry := b.snapshots.Current().View("").Get(resource.Name{Kind: kind, Name: name})
	if entry == nil {
		b.t.Fatalf("no %s %s", kind, name)
	}
	decoded, err := entry.Decode()
	if err != nil {
		b.t.Fatal(err)
	}
	return decoded
}

func TestAMassDeletionIsHeldBackUntilALaterListConfirmsIt(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		b.update(remove(0, 40))
		b.serves(50, 40)
		time.Sleep(confirmAfter - 2*time.Second)
		b.serves(50, 40)
		time.Sleep(2 * time.Second)
		b.serves(10, 0)
		for _, line := range []string{"held back a mass deletion", "services=40 of=50", "held back no more: because=\"a later full list"} {
			if strings.Count(b.log.String(), line) != 1 {
				b.t.Errorf("%q is not said once:\n%s", line, b.log.String())
			}
		}
	})
}

// TestAnEmptySourceNeverEmptiesNodes, however often it says so: an operator has to.
func TestAnEmptySourceNeverEmptiesNodes(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		b.update(remove(0, 50))
		time.Sleep(24 * time.Hour)
		b.serves(50, 50)
		if strings.Count(b.log.String(), "no Service at all, which confirms nothing") != 1 {
			b.t.Errorf("the reason is not said once:\n%s", b.log.String())
		}
		if problem := b.objects.Problems()[0].String(); !strings.Contains(problem, `Services: removed "50 of 50": a mass deletion is held back, such as of demo/s0, demo/s1, demo/s10`) {
			b.t.Error(problem)
		}
		if let := b.Release(b.Held().Held, "an operator said so"); len(let) != 50 {
			b.t.Errorf("%d let go", len(let))
		}
		time.Sleep(time.Second)
		b.serves(0, 0)
	})
}

func TestAListThatFailsOrDisagreesConfirmsNothing(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		var answers atomic.Bool
		b.list = func() ([]model.Key, error) {
			if !answers.Load() {
				return nil, errors.New("forbidden")
			}
			return []model.Key{numbered(3, 80).Key, numbered(45, 80).Key}, nil
		}
		b.update(remove(0, 40))
		time.Sleep(time.Hour)
		answers.Store(true)
		time.Sleep(time.Hour)
		b.serves(50, 40)
		for _, line := range []string{"because=forbidden", `because="the source still lists 1 of 40"`} {
			if strings.Count(b.log.String(), line) != 1 {
				b.t.Errorf("%q is not said once:\n%s", line, b.log.String())
			}
		}
	})
}

func TestTheBrakeIsOffWhenTheServicesComeBack(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		before := b.snapshots.Current().Revision
		b.update(remove(0, 40))
		for _, half := range []int{0, 20} {
			b.update(func(tx *cluster.Tx) {
				for i := half; i < half+20; i++ {
					tx.SetService(numbered(i, 80))
					tx.SetSlice(sliceOf(i, "10.1.0.1"))
				}
			})
			b.serves(50, 20-half)
		}
		if after := b.snapshots.Current().Revision; after != before {
			b.t.Errorf("revision %d became %d: nodes were sent something", before, after)
		}
		if !strings.Contains(b.log.String(), "because=\"the Services are back") {
			b.t.Error(b.log.String())
		}
	})
}

func TestOnlyRemovalsWait(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		b.update(remove(0, 40))
		b.update(func(tx *cluster.Tx) {
			tx.SetService(numbered(100, 80))
			tx.SetSlice(sliceOf(100, "10.1.0.1"))
			tx.SetService(numbered(45, 81))
			tx.SetSlice(sliceOf(46, "10.1.0.2"))
			// Of a Service that is held.
			tx.SetSlice(sliceOf(7, "10.1.0.3"))
		})
		b.update(remove(48, 49))
		b.serves(51, 41)
		if port := b.get(discoveryv1.Kind_KIND_SERVICE, "demo/s45").GetService().GetPorts()[0].GetPort(); port != 81 {
			b.t.Errorf("the changed Service has port %d", port)
		}
		for set, want := range map[string]string{"demo/s46-1": "10.1.0.2", "demo/s7-1": "10.1.0.3", "demo/s8-1": "10.1.0.1"} {
			if got := b.get(discoveryv1.Kind_KIND_ENDPOINT_SET, set).String(); !strings.Contains(got, want) {
				b.t.Errorf("%s is %s, want %s", set, got, want)
			}
		}
	})
}

func TestSettingsReachWhatIsHeld(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		outside := numbered(0, 80)
		outside.ExternalIPs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		b.update(func(tx *cluster.Tx) { tx.SetService(outside) })
		b.update(remove(0, 40))
		changed := compile.DefaultSettings()
		changed.IgnoreExternalIPs = true
		b.Configure(changed)
		time.Sleep(time.Second)
		b.serves(50, 40)
		if got := b.get(discoveryv1.Kind_KIND_SERVICE, "demo/s0").GetService().GetExternalIps(); len(got) != 0 {
			b.t.Errorf("external IPs %v", got)
		}
	})
}

// TestAHeldServiceYieldsItsAddressToANewOne: it would be refused by every node.
func TestAHeldServiceYieldsItsAddressToANewOne(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		b.update(remove(0, 40))
		heir := numbered(200, 80)
		heir.ClusterIPs = numbered(5, 80).ClusterIPs
		b.update(func(tx *cluster.Tx) { tx.SetService(heir); tx.SetSlice(sliceOf(200, "10.1.0.1")) })
		b.serves(50, 39)
	})
}

func TestASlowDrainIsNoMassDeletion(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		for i := range 50 {
			b.update(remove(i, i+1))
			time.Sleep(2 * time.Second)
		}
		b.serves(0, 0)
	})
}

func TestManySmallRoundsWithinSecondsAreAMassDeletion(t *testing.T) {
	inBrakeBubble(t, 50, func(b *braked) {
		b.list = func() ([]model.Key, error) { return nil, errors.New("not asked") }
		for i := range 50 {
			b.objects.Update(remove(i, i+1))
			time.Sleep(100 * time.Millisecond)
		}
		b.serves(25, 25)
	})
}

// TestABrakeThatIsOffHoldsNothing: offline, and with a share or number of zero.
func TestABrakeThatIsOffHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := startDriver(t)
		b := &braked{t: t, objects: r.objects, snapshots: r.snapshots, Driver: d}
		b.update(func(tx *cluster.Tx) {
			for i := range 100 {
				tx.SetService(numbered(i, 80))
			}
			tx.SetSynced()
		})
		b.update(remove(0, 100))
		b.serves(0, 0)
	})
}

// TestAStartWithFewServicesIsDoubtedUntilAListIsComplete: nodes may hold what a blind
// source does not deliver.
func TestAStartWithFewServicesIsDoubtedUntilAListIsComplete(t *testing.T) {
	inBrakeBubble(t, 2, func(b *braked) {
		var lists atomic.Int32
		b.list = func() ([]model.Key, error) {
			keys := b.objects.Services()
			if lists.Add(1) == 1 {
				keys = append(keys, numbered(7, 80).Key)
			}
			return keys, nil
		}
		if !b.Doubt(50, 2) || !b.Doubt(60, 2) || b.Doubt(3, 2) {
			b.t.Error("not doubted, or everybody is")
		}
		if problem := b.objects.Problems()[0].String(); !strings.HasPrefix(problem, `Services of nodes: held "60 or more": only about 2 are there`) {
			b.t.Error(problem)
		}
		time.Sleep(confirmAfter + time.Second)
		if !b.Doubt(50, 2) || !strings.Contains(b.log.String(), "lists 1 Services that it did not deliver") {
			b.t.Error("trusted a list with more than was delivered")
		}
		time.Sleep(confirmAfter)
		if b.Doubt(50, 2) || len(b.objects.Problems()) > 0 {
			b.t.Errorf("still doubted, problems %v", b.objects.Problems())
		}
	})
}
