package round

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// frugal is a driver with a budget of ten endpoints.
type frugal struct {
	*Driver
	t *testing.T
}

func newFrugal(t *testing.T) frugal {
	f := frugal{t: t, Driver: New(Config{
		Cluster: cluster.NewStore(), Snapshots: snapshot.NewStore(time.Now), Settings: compile.DefaultSettings(),
		Logger: hclog.NewNullLogger(), MaxServiceEndpoints: 10,
	})}
	f.update(func(tx *cluster.Tx) { tx.SetSynced() })
	return f
}

func (f frugal) update(change func(*cluster.Tx)) {
	f.Cluster.Update(change)
	f.Round()
}

// endpoints is the whole content of one slice of demo/web, which has two ports.
func endpoints(n int) *model.Slice {
	slice := &model.Slice{Key: model.Key{Namespace: "demo", Name: "web-1"}, Service: "web",
		Ports: []model.SlicePort{{Name: "http", Protocol: model.TCP, Port: 8080}, {Name: "https", Protocol: model.TCP, Port: 8443}, {Name: "other", Protocol: model.TCP, Port: 1}}}
	for i := range n {
		slice.Endpoints = append(slice.Endpoints, model.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 244, 0, byte(i + 1)}), Ready: true})
	}
	return slice
}

func web() *model.Service {
	s := service("web", 80)
	s.Ports = []model.Port{{Name: "http", Protocol: model.TCP, Port: 80}, {Name: "https", Protocol: model.TCP, Port: 443}}
	return s
}

// expect compares how many endpoints of demo/web a node is told, and what is said
// of the Service.
func (f frugal) expect(what string, endpoints int, problem string) {
	f.t.Helper()
	got := 0
	entry := f.Snapshots.Current().View("").Get(resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "demo/web-1"})
	if entry != nil {
		decoded, err := entry.Decode()
		if err != nil {
			f.t.Fatal(err)
		}
		got = len(decoded.GetEndpointSet().GetGroups()[0].GetEndpoints())
	}
	if got != endpoints {
		f.t.Errorf("%s: %d endpoints, want %d", what, got, endpoints)
	}
	problems := f.Cluster.Problems()
	if (problem == "") != (len(problems) == 0) || problem != "" && !strings.Contains(problems[0].String(), problem) {
		f.t.Errorf("%s: problems %v, want %q", what, problems, problem)
	}
}

func TestAServiceBeyondItsBudgetKeepsItsLastGoodState(t *testing.T) {
	f := newFrugal(t)
	f.update(func(tx *cluster.Tx) { tx.SetService(web()); tx.SetSlice(endpoints(5)) })
	f.expect("at the budget", 5, "")
	f.update(func(tx *cluster.Tx) { tx.SetSlice(endpoints(6)) })
	f.expect("beyond it", 5, `Service demo/web: endpoints "12": expected at most 10 (--max-service-endpoints), counted once for each port; its last good state stays in force`)
	f.update(func(tx *cluster.Tx) { tx.SetSlice(endpoints(7)) })
	f.expect("still beyond it", 5, `"14"`)
	f.update(func(tx *cluster.Tx) { tx.SetSlice(endpoints(4)) })
	f.expect("within it again", 4, "")
	f.update(func(tx *cluster.Tx) { tx.SetSlice(endpoints(6)) })
	f.update(func(tx *cluster.Tx) { tx.DeleteService(web().Key) })
	f.expect("deleted", 0, "")
}

func TestAServiceThatNeverWasWithinItsBudgetIsNotInForce(t *testing.T) {
	f := newFrugal(t)
	f.update(func(tx *cluster.Tx) {
		tx.SetService(web())
		tx.SetSlice(endpoints(6))
		tx.SetService(service("other", 80))
	})
	f.expect("new", 0, "the object is not in force")
	view := f.Snapshots.Current().View("")
	if view.Get(resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/web"}) != nil {
		t.Error("the Service is in force")
	}
	if view.Get(resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/other"}) == nil {
		t.Error("another Service is harmed")
	}
}

// TestAProblemOfTheBudgetDoesNotHideOthers: admission speaks of the same object.
func TestAProblemOfTheBudgetDoesNotHideOthers(t *testing.T) {
	f := newFrugal(t)
	said := []model.Problem{{Object: "Service demo/web", Field: "spec.externalIPs[0]", Message: "expected an IP address"}}
	f.update(func(tx *cluster.Tx) {
		tx.SetService(web())
		tx.SetSlice(endpoints(6))
		tx.SetProblems("Service demo/web", said)
	})
	if problems := f.Cluster.Problems(); len(problems) != 2 {
		t.Errorf("problems %v, want both", problems)
	}
	f.update(func(tx *cluster.Tx) { tx.SetSlice(endpoints(1)) })
	if problems := f.Cluster.Problems(); len(problems) != 1 || problems[0] != said[0] {
		t.Errorf("problems %v, want admission's", problems)
	}
}

// BenchmarkBeyondTheBudget is a change of a Service of 200 ports and 200,000
// endpoints: it must cost next to nothing.
func BenchmarkBeyondTheBudget(b *testing.B) {
	d := New(Config{Cluster: cluster.NewStore(), Snapshots: snapshot.NewStore(time.Now), Settings: compile.DefaultSettings(), Logger: hclog.NewNullLogger()})
	s, slice := service("web", 80), endpoints(250)
	s.Ports, slice.Ports = nil, nil
	for i := range 200 {
		s.Ports = append(s.Ports, model.Port{Name: string(rune('a' + i)), Protocol: model.TCP, Port: uint16(i + 1)})
		slice.Ports = append(slice.Ports, model.SlicePort{Name: string(rune('a' + i)), Protocol: model.TCP, Port: uint16(i + 1)})
	}
	d.Cluster.Update(func(tx *cluster.Tx) {
		tx.SetService(s)
		for i := range 4 {
			part := *slice
			part.Name = string(rune('a' + i))
			tx.SetSlice(&part)
		}
		tx.SetSynced()
	})
	for i := 0; b.Loop(); i++ {
		changed := *s
		changed.Scheduler = []string{"rr", "lc"}[i%2]
		d.Cluster.Update(func(tx *cluster.Tx) { tx.SetService(&changed) })
		d.Round()
	}
}
