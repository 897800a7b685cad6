package metrics

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// loop runs a reconciler, on a kernel whose IPv4 is the given one, that is observed
// by metrics.
func loop(t *testing.T, m *Metrics, plane *fake.Plane) *reconcile.Loop {
	l := reconcile.New(reconcile.Config{
		Node: "node-a", Dataplanes: []dataplane.Dataplane{plane, fake.New(dataplane.IPv6)}, Logger: hclog.NewNullLogger(), Now: time.Now, Observer: m,
		Addresses:   func() ([]netip.Addr, error) { return nil, nil },
		Acknowledge: func(subscribe.Result) bool { return true },
	}, nil, state.Checkpoint{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

// localOnly is a Service that has to use endpoints of the node, and one endpoint
// that is elsewhere, with when that changed.
func localOnly(triggered time.Time) []*discoveryv1.Resource {
	port := &discoveryv1.EndpointPort{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 8080}
	set := endpoints("demo/web-1", triggered, "10.244.2.1")
	set.GetEndpointSet().Groups[0].Ports = []*discoveryv1.EndpointPort{port}
	return []*discoveryv1.Resource{
		{Name: "node-a", Body: &discoveryv1.Resource_NodeConfig{NodeConfig: &discoveryv1.NodeConfig{SyncPeriod: durationpb.New(5 * time.Second)}}},
		{Name: "demo/web", Body: &discoveryv1.Resource_Service{Service: &discoveryv1.Service{
			ClusterIps:            []string{"10.96.0.1"},
			Ports:                 []*discoveryv1.ServicePort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 80}},
			InternalTrafficPolicy: discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL,
		}}},
		set,
	}
}

func TestWhatTheLoopDoesIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, plane := newMetrics(), fake.New(dataplane.IPv4)
		l := loop(t, m, plane)
		time.Sleep(time.Second)
		plane.Fail(errKernel)
		l.Apply(t.Context(), transaction(localOnly(time.Now())...))
		expect(t, m, "while the kernel refuses IPv4", "kubeproxy_sync_proxy_rules_service_changes_pending 1", "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1",
			`kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 1`,
			`kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv6"} 0`)
		time.Sleep(10 * time.Second)
		if m.Health.Healthy() {
			t.Error("healthy although a change has waited for two of the node's sync periods")
		}
		plane.Fail(nil)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !m.Health.Healthy() || m.NodeConfig().SyncPeriod != 5*time.Second {
			t.Errorf("healthy %v, configuration %+v", m.Health.Healthy(), m.NodeConfig())
		}
		expect(t, m, "when the kernel holds it", "kubeproxy_sync_proxy_rules_service_changes_pending 0", "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
			"kubeproxy_sync_proxy_rules_service_changes_total 1", "kubeproxy_sync_proxy_rules_endpoint_changes_total 1",
			`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"} 1`,
			`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 0`)
		if got := programming(t, m)["IPv4"]; got.count != 1 || got.sum < 10 || got.sum > 30 {
			t.Errorf("the change took %+v, want once as long as the kernel refused", got)
		}
	})
}
