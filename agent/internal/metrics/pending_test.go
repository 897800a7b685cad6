package metrics

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
)

// queue has the metrics see a transaction of the resources.
func queue(m *Metrics, list ...*discoveryv1.Resource) {
	tx := transaction(list...)
	m.Queued(tx)
	for r := range tx.Resources.All() {
		m.Resource(r)
	}
}

func transaction(list ...*discoveryv1.Resource) *subscribe.Transaction {
	resources, err := subscribe.NewResources(list...)
	if err != nil {
		panic(err)
	}
	return &subscribe.Transaction{Resources: resources}
}

func endpoints(name string, triggered time.Time, addresses ...string) *discoveryv1.Resource {
	group := &discoveryv1.EndpointGroup{}
	for _, address := range addresses {
		group.Endpoints = append(group.Endpoints, &discoveryv1.Endpoint{Address: address})
	}
	r := &discoveryv1.Resource{Name: name, Body: &discoveryv1.Resource_EndpointSet{
		EndpointSet: &discoveryv1.EndpointSet{Service: "demo/web", Groups: []*discoveryv1.EndpointGroup{group}}}}
	if !triggered.IsZero() {
		r.LastChangeTriggerTime = timestamppb.New(triggered)
	}
	return r
}

var removed = resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "demo/web-1"}

func TestChangesArePendingUntilEveryFamilyHoldsThem(t *testing.T) {
	m := newMetrics()
	service := &discoveryv1.Resource{Name: "demo/web", Body: &discoveryv1.Resource_Service{}}
	local := &discoveryv1.Resource{Name: "demo/web", Body: &discoveryv1.Resource_LocalEndpoints{}}
	node := &discoveryv1.Resource{Name: "node-a", Body: &discoveryv1.Resource_NodeConfig{}}
	queue(m, service, local, node, endpoints("demo/web-1", time.Time{}))
	m.Queued(&subscribe.Transaction{Removed: []resource.Name{removed}})
	pending := func(when, services, endpoints string) {
		t.Helper()
		expect(t, m, when, "kubeproxy_sync_proxy_rules_service_changes_pending "+services)
		expect(t, m, when, "kubeproxy_sync_proxy_rules_endpoint_changes_pending "+endpoints)
	}
	pending("queued", "1", "3")
	m.Applied(reconcile.Attempt{Family: dataplane.IPv4})
	m.Applied(reconcile.Attempt{Family: dataplane.IPv6, Err: errKernel})
	pending("with one family applied", "1", "3")
	m.Applied(reconcile.Attempt{Family: dataplane.IPv6})
	pending("with both applied", "0", "0")
	expect(t, m, "in all", "kubeproxy_sync_proxy_rules_service_changes_total 1")
	expect(t, m, "in all", "kubeproxy_sync_proxy_rules_endpoint_changes_total 3")
}

// observed is what a histogram has seen.
type observed struct {
	count uint64
	sum   float64
}

// programming returns by family how long changes took.
func programming(t *testing.T, m *Metrics) map[string]observed {
	t.Helper()
	got := map[string]observed{}
	for _, family := range gather(t, m) {
		if family.GetName() != "kubeproxy_network_programming_duration_seconds" {
			continue
		}
		for _, sample := range family.GetMetric() {
			got[sample.GetLabel()[0].GetValue()] = observed{sample.GetHistogram().GetSampleCount(), sample.GetHistogram().GetSampleSum()}
		}
	}
	return got
}

// TestHowLongAChangeTookIsMeasured in fake time: every story begins ten seconds
// after the agent, and ends a second after its last event with both families
// applied.
func TestHowLongAChangeTookIsMeasured(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	tests := map[string]struct {
		story    func(m *Metrics)
		ip4, ip6 observed
	}{
		"from the trigger to the kernel": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(2*time.Second), "10.244.1.1"))
		}, observed{1, 3}, observed{}},
		"by the family of the slice": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(2*time.Second), "fd00::1"), endpoints("demo/web-2", ago(time.Second), "10.244.1.1"))
		}, observed{1, 2}, observed{1, 3}},
		"a change from before the agent is not measured": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(10*time.Second), "10.244.1.1"))
		}, observed{}, observed{}},
		"one without a time neither": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", time.Time{}, "10.244.1.1"))
		}, observed{}, observed{}},
		"a removal is not measured": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(time.Second), "10.244.1.1"))
			m.Queued(&subscribe.Transaction{Removed: []resource.Name{removed}})
		}, observed{}, observed{}},
		"what is rejected is not in the kernel": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(time.Second), "10.244.1.1"))
			m.Rejected([]*discoveryv1.RejectedResource{{Name: removed.Proto()}})
		}, observed{}, observed{}},
		"until the kernel holds it": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(time.Second), "10.244.1.1"))
			m.Applied(reconcile.Attempt{Family: dataplane.IPv4, Err: errKernel})
			m.Applied(reconcile.Attempt{Family: dataplane.IPv6})
			time.Sleep(30 * time.Second)
		}, observed{1, 32}, observed{}},
		"once, though the set is sent again with the same time": {func(m *Metrics) {
			triggered := ago(time.Second)
			queue(m, endpoints("demo/web-1", triggered, "10.244.1.1"))
			m.Applied(reconcile.Attempt{Family: dataplane.IPv4})
			time.Sleep(time.Minute)
			queue(m, endpoints("demo/web-1", triggered, "10.244.1.1", "10.244.1.2"))
		}, observed{1, 1}, observed{}},
		"a control plane whose clock is ahead": {func(m *Metrics) {
			queue(m, endpoints("demo/web-1", ago(-time.Minute), "10.244.1.1"))
		}, observed{1, 0}, observed{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMetrics()
				time.Sleep(10 * time.Second)
				test.story(m)
				time.Sleep(time.Second)
				for _, family := range families {
					m.Applied(reconcile.Attempt{Family: family})
				}
				for family, want := range map[string]observed{"IPv4": test.ip4, "IPv6": test.ip6} {
					if got := programming(t, m)[family]; got != want {
						t.Errorf("%s: %+v, want %+v", family, got, want)
					}
				}
			})
		})
	}
}
