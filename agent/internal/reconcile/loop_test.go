package reconcile

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
)

// rig is a loop on a fake kernel, in fake time.
type rig struct {
	t         *testing.T
	plane     *fake.Plane
	plane6    *fake.Plane
	loop      *Loop
	path      string
	addresses chan struct{}
	stop      context.CancelFunc
	done      chan error

	mu      sync.Mutex
	local   []netip.Addr
	blind   error
	acked   []subscribe.Result
	deaf    bool
	writes  int
	repairs int
	missing map[dataplane.Family]bool

	ineligible string
	serving    []ruleset.Serving
	checks     []ruleset.HealthCheck
	sysctls    []uint32
	collected  map[dataplane.Family]error
}

func newRig(t *testing.T, plane *fake.Plane, path string) *rig {
	r := &rig{t: t, plane: plane, plane6: fake.New(dataplane.IPv6), path: path, collected: map[dataplane.Family]error{}, addresses: make(chan struct{}, 1), done: make(chan error, 1)}
	var restored *state.State
	var header state.Checkpoint
	if path != "" {
		restored, header, _ = state.ReadFile(path, "node-a")
	}
	r.loop = New(Config{
		Node: "node-a", Dataplanes: []dataplane.Dataplane{plane, r.plane6}, Logger: hclog.NewNullLogger(), Addresses: r.list, AddressesChanged: r.addresses,
		Sysctls: func(c *discoveryv1.Conntrack) error {
			r.sysctls = append(r.sysctls, c.GetMaxPerCore())
			return errKernel
		},
		CleanConntrack: func(s ruleset.Serving) { r.serving = append(r.serving, s) },
		HealthChecks:   func(c []ruleset.HealthCheck) { r.checks = c },
		Acknowledge:    r.acknowledge, CheckpointPath: path, Observer: r, Now: time.Now,
	}, restored, header)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- r.loop.Run(ctx) }()
	synctest.Wait()
	return r
}

func (r *rig) close() {
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
}

func (r *rig) list() ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.local, r.blind
}

func (r *rig) setAddresses(texts ...string) {
	r.mu.Lock()
	r.local = nil
	for _, text := range texts {
		r.local = append(r.local, netip.MustParseAddr(text))
	}
	r.mu.Unlock()
	r.addresses <- struct{}{}
	synctest.Wait()
}

func (r *rig) acknowledge(result subscribe.Result) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf {
		return false
	}
	r.acked = append(r.acked, result)
	return true
}

func (r *rig) Queued(*subscribe.Transaction)            {}
func (r *rig) Resource(*discoveryv1.Resource)           {}
func (r *rig) Collected(f dataplane.Family, err error)  { r.collected[f] = err }
func (r *rig) Rejected([]*discoveryv1.RejectedResource) {}
func (r *rig) Applied(a Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missing == nil {
		r.missing = map[dataplane.Family]bool{}
	}
	r.missing[a.Family] = a.Missing
	if a.Repair && a.Err == nil && a.Family == dataplane.IPv4 {
		r.repairs++
	}
}
func (r *rig) Configured(config *state.NodeConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ineligible = "the Node is gone"
	if config != nil {
		r.ineligible = config.Ineligible
	}
}
func (r *rig) Checkpointed(_ int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
	if err != nil {
		r.t.Error(err)
	}
}

func (r *rig) send(tx *subscribe.Transaction) subscribe.Result {
	return r.loop.Apply(context.Background(), tx)
}

func transaction(resources ...*discoveryv1.Resource) *subscribe.Transaction {
	encoded, err := subscribe.NewResources(resources...)
	if err != nil {
		panic(err)
	}
	return &subscribe.Transaction{Revision: 7, Source: &discoveryv1.SourceVersion{Source: "test"}, Resources: encoded}
}

func service(name, clusterIP string, nodePort uint32) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: name, Version: 1, Body: &discoveryv1.Resource_Service{Service: &discoveryv1.Service{
		ClusterIps: []string{clusterIP},
		Ports:      []*discoveryv1.ServicePort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 80, NodePort: nodePort}},
	}}}
}

func endpoints(service string, addresses ...string) *discoveryv1.Resource {
	group := &discoveryv1.EndpointGroup{Ports: []*discoveryv1.EndpointPort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 8080}}}
	for _, a := range addresses {
		group.Endpoints = append(group.Endpoints, &discoveryv1.Endpoint{Address: a})
	}
	return &discoveryv1.Resource{Name: service + "-1", Version: 2, Body: &discoveryv1.Resource_EndpointSet{
		EndpointSet: &discoveryv1.EndpointSet{Service: service, Groups: []*discoveryv1.EndpointGroup{group}}}}
}

func nodeConfig(change func(*discoveryv1.NodeConfig)) *discoveryv1.Resource {
	config := &discoveryv1.NodeConfig{NodeIps: []string{"192.168.0.2"}, NodePortAddresses: []string{"primary"}, MasqueradeBit: 14}
	if change != nil {
		change(config)
	}
	return &discoveryv1.Resource{Name: "node-a", Version: 3, Body: &discoveryv1.Resource_NodeConfig{NodeConfig: config}}
}

func tcp(addrPort string) ruleset.Key {
	ap := netip.MustParseAddrPort(addrPort)
	return ruleset.Key{Addr: ap.Addr(), Protocol: state.TCP, Port: ap.Port()}
}

func (r *rig) expect(addrPort string, want ...string) {
	r.t.Helper()
	backends, ok := r.plane.Backends(tcp(addrPort))
	var got []string
	for _, b := range backends {
		got = append(got, b.String())
	}
	if !ok || !slices.Equal(got, want) {
		r.t.Errorf("%s has backends %v (there: %v), want %v", addrPort, got, ok, want)
	}
}

func (r *rig) expectAbsent(addrPort string) {
	r.t.Helper()
	if backends, ok := r.plane.Backends(tcp(addrPort)); ok {
		r.t.Errorf("%s is there with %v", addrPort, backends)
	}
}

var errKernel = errors.New("the kernel says no")

func TestTheFirstTransactionReplacesAndLaterOnesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		if result := r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1"))); result.Err != nil {
			t.Fatal(result.Err)
		}
		r.send(transaction(endpoints("demo/web", "10.244.1.1", "10.244.2.2")))
		r.expect("10.96.0.1:80", "10.244.1.1:8080", "10.244.2.2:8080")
		if calls := r.plane.Calls(); calls != (fake.Calls{Replace: 1, Apply: 1}) {
			t.Errorf("calls %+v", calls)
		}
	})
}

func TestATransactionWithoutEffectDoesNotTouchTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
		r.send(transaction())
		r.send(transaction(service("demo/web", "10.96.0.1", 0)))
		if calls := r.plane.Calls(); calls != (fake.Calls{Replace: 1}) {
			t.Errorf("calls %+v", calls)
		}
	})
}

func TestAFailedApplyIsRetriedAndThenAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		r.plane.Fail(errKernel)
		if result := r.send(transaction(endpoints("demo/web", "10.244.2.2"))); !errors.Is(result.Err, errKernel) {
			t.Fatalf("answered %v, want the kernel's error", result.Err)
		}
		r.expect("10.96.0.1:80", "10.244.1.1:8080")
		time.Sleep(time.Minute)
		synctest.Wait()
		failed := r.plane.Calls().Replace
		if failed < 5 || failed > 20 {
			t.Errorf("%d attempts in a minute", failed)
		}
		r.plane.Fail(nil)
		time.Sleep(lastRetry)
		synctest.Wait()
		r.expect("10.96.0.1:80", "10.244.2.2:8080")
		if last := r.acked[len(r.acked)-1]; last.Err != nil {
			t.Errorf("last acknowledged %v", last.Err)
		}
	})
}

func TestRulesOfAnEarlierAgentStayUntilTheControlPlaneSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := fake.New(dataplane.IPv4)
		plane.Hold(&ruleset.Frontend{Key: tcp("10.96.0.9:80")})
		r := newRig(t, plane, "")
		defer r.close()
		r.setAddresses("192.168.0.2")
		time.Sleep(time.Hour / 2)
		r.expect("10.96.0.9:80")
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
		r.expectAbsent("10.96.0.9:80")
		r.expect("10.96.0.1:80")
	})
}

// TestRulesThatAreTheCheckpointsAreChangedAndNotReplaced is a restart: only what is new
// is committed, while all that is not rules is told as if it were new.
func TestRulesThatAreTheCheckpointsAreChangedAndNotReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile string
		want      fake.Calls
	}{
		"the same":              {want: fake.Calls{Replace: 1, Apply: 1}},
		"somebody changed them": {meanwhile: "10.96.0.9:80", want: fake.Calls{Replace: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, plane := filepath.Join(t.TempDir(), "checkpoint"), fake.New(dataplane.IPv4)
				web := service("demo/web", "10.96.0.1", 0)
				web.GetService().ExternalTrafficPolicy = discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL
				web.GetService().HealthCheckNodePort = 32000
				r := newRig(t, plane, path)
				r.send(transaction(nodeConfig(nil), web, endpoints("demo/web", "10.244.1.1")))
				r.close()
				if test.meanwhile != "" {
					plane.Hold(&ruleset.Frontend{Key: tcp(test.meanwhile)})
				}

				restarted := newRig(t, plane, path)
				defer restarted.close()
				restarted.send(transaction(service("demo/other", "10.96.0.2", 0), endpoints("demo/other", "10.244.1.2")))
				restarted.expect("10.96.0.1:80", "10.244.1.1:8080")
				restarted.expect("10.96.0.2:80", "10.244.1.2:8080")
				restarted.expectAbsent("10.96.0.9:80")
				if calls := plane.Calls(); calls.Replace != test.want.Replace || calls.Apply != test.want.Apply {
					t.Errorf("called %+v, want %+v", calls, test.want)
				}
				if len(restarted.checks) != 1 {
					t.Errorf("health checks %v, want that of demo/web", restarted.checks)
				}
				restarted.send(transaction(endpoints("demo/other", "10.244.1.3")))
				restarted.expect("10.96.0.2:80", "10.244.1.3:8080")
			})
		})
	}
}

func TestAnEmptyKernelGetsTheCheckpointAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		r := newRig(t, fake.New(dataplane.IPv4), path)
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		r.close()

		rebooted := newRig(t, fake.New(dataplane.IPv4), path)
		defer rebooted.close()
		rebooted.expect("10.96.0.1:80", "10.244.1.1:8080")
		if held := rebooted.loop.state.Held(); held[resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/web"}] != 1 {
			t.Errorf("held %v", held)
		}
	})
}

func TestCheckpointsGatherChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), filepath.Join(t.TempDir(), "checkpoint"))
		defer r.close()
		for range 10 {
			r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
			time.Sleep(checkpointDelay / 20)
		}
		time.Sleep(2 * checkpointDelay)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.writes != 1 {
			t.Errorf("%d checkpoints, want 1", r.writes)
		}
	})
}

func TestNodePortsFollowTheNodesAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.setAddresses("192.168.0.2", "10.0.0.2")
		r.send(transaction(service("demo/web", "10.96.0.1", 30080), endpoints("demo/web", "10.244.1.1"),
			nodeConfig(func(c *discoveryv1.NodeConfig) { c.NodePortAddresses = []string{"192.168.0.0/16"} })))
		r.expect("192.168.0.2:30080", "10.244.1.1:8080")
		r.expectAbsent("10.0.0.2:30080")
		r.setAddresses("192.168.7.7")
		r.expect("192.168.7.7:30080", "10.244.1.1:8080")
		r.expectAbsent("192.168.0.2:30080")
	})
}

func TestSpareSlotsAreCollectedOnceNoPacketCanNeedThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1", "10.244.2.2")))
		r.send(transaction(endpoints("demo/web", "10.244.1.1")))
		time.Sleep(collectDelay / 2)
		synctest.Wait()
		if calls := r.plane.Calls(); calls.Collect != 0 {
			t.Error("collected while packets may be in flight")
		}
		time.Sleep(10 * collectDelay)
		synctest.Wait()
		if calls := r.plane.Calls(); calls.Collect != 2 || r.plane.Pending() {
			t.Errorf("collected %d times, want twice: to see and to remove (left: %v)", calls.Collect, r.plane.Pending())
		}
	})
}

func TestChangesWithoutEndNeitherStopCollectingNorCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), filepath.Join(t.TempDir(), "checkpoint"))
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
		for i := range 100 {
			addresses := []string{"10.244.1.1", "10.244.2.2"}
			r.send(transaction(endpoints("demo/web", addresses[:1+i%2]...)))
			time.Sleep(collectDelay / 10)
		}
		synctest.Wait()
		if calls := r.plane.Calls(); calls.Collect < 5 {
			t.Errorf("collected %d times in 10 s of changes", calls.Collect)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.writes < 5 {
			t.Errorf("%d checkpoints in 10 s of changes", r.writes)
		}
	})
}

func TestRulesThatSomebodyTookAwayComeBackByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		time.Sleep(time.Minute)
		if calls := r.plane.Calls(); calls.Replace != 1 {
			t.Errorf("%d replacements although nobody changed anything", calls.Replace)
		}
		r.plane.Fail(errKernel)
		r.plane.Disturb()
		time.Sleep(lookPeriod + time.Millisecond)
		r.expectAbsent("10.96.0.1:80")
		r.plane.Fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		r.expect("10.96.0.1:80", "10.244.1.1:8080")
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.repairs != 1 {
			t.Errorf("%d repairs, want 1", r.repairs)
		}
	})
}

func TestACheckpointReplacesRulesOfAnEarlierAgentThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		plane := fake.New(dataplane.IPv4)
		first := newRig(t, plane, path)
		first.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		first.close()
		second := newRig(t, plane, path)
		defer second.close()
		plane.Disturb()
		time.Sleep(2 * lookPeriod)
		synctest.Wait()
		second.expect("10.96.0.1:80", "10.244.1.1:8080")
	})
}

func TestRulesOfAnEarlierAgentOutliveTheHourlyResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := fake.New(dataplane.IPv4)
		plane.Hold(&ruleset.Frontend{Key: tcp("10.96.0.9:80"), Backends: ruleset.PackBackends(netip.MustParseAddrPort("10.244.9.9:8080"))})
		r := newRig(t, plane, "")
		defer r.close()
		time.Sleep(3 * resyncPeriod)
		synctest.Wait()
		r.expect("10.96.0.9:80", "10.244.9.9:8080")
	})
}

func TestARejectedResourceIsNamedUntilItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		for range 2 {
			result := r.send(transaction(endpoints("demo/web", "127.0.0.1")))
			if len(result.Rejected) != 1 || result.Rejected[0].GetName().GetName() != "demo/web-1" || result.Err != nil {
				t.Fatalf("result %+v", result)
			}
		}
		r.expect("10.96.0.1:80", "10.244.1.1:8080")
		if result := r.send(transaction()); len(result.Rejected) != 1 {
			t.Errorf("an unrelated transaction forgets the rejection: %+v", result)
		}
		if result := r.send(transaction(endpoints("demo/web", "10.244.3.3"))); len(result.Rejected) != 0 {
			t.Errorf("still rejected: %v", result.Rejected)
		}
		r.expect("10.96.0.1:80", "10.244.3.3:8080")
	})
}

func TestAChangedConfigurationReplacesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
		r.send(transaction(nodeConfig(func(c *discoveryv1.NodeConfig) { c.MasqueradeAll = true })))
		if !r.plane.Settings().MasqueradeAll {
			t.Error("the new setting is not in force")
		}
		if calls := r.plane.Calls(); calls != (fake.Calls{Replace: 2}) {
			t.Errorf("calls %+v", calls)
		}
	})
}

func udpService(name, clusterIP string, healthCheck uint32) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: name, Version: 1, Body: &discoveryv1.Resource_Service{Service: &discoveryv1.Service{
		ClusterIps: []string{clusterIP}, HealthCheckNodePort: healthCheck,
		Ports: []*discoveryv1.ServicePort{{Name: "dns", Protocol: discoveryv1.Protocol_PROTOCOL_UDP, Port: 53}},
	}}}
}

func udpGroup(states map[string]discoveryv1.EndpointState) []*discoveryv1.EndpointGroup {
	group := &discoveryv1.EndpointGroup{Ports: []*discoveryv1.EndpointPort{{Name: "dns", Protocol: discoveryv1.Protocol_PROTOCOL_UDP, Port: 5353}}}
	for address, state := range states {
		group.Endpoints = append(group.Endpoints, &discoveryv1.Endpoint{Address: address, State: state})
	}
	return []*discoveryv1.EndpointGroup{group}
}

func udpEndpoints(states map[string]discoveryv1.EndpointState) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: "demo/dns-1", Version: 2, Body: &discoveryv1.Resource_EndpointSet{
		EndpointSet: &discoveryv1.EndpointSet{Service: "demo/dns", Groups: udpGroup(states)}}}
}

func TestConnectionsOfUDPFrontendsAreLookedAtAfterTheirEndpointsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		const ready, draining = discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED, discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING
		r.send(transaction(nodeConfig(nil), udpService("demo/dns", "10.96.0.53", 0), service("demo/web", "10.96.0.1", 0)))
		r.send(transaction(udpEndpoints(map[string]discoveryv1.EndpointState{"10.244.1.1": ready, "10.244.2.2": draining})))
		synctest.Wait()
		key := ruleset.UDP(netip.MustParseAddrPort("10.96.0.53:53"))
		last := r.serving[len(r.serving)-1]
		if len(last) != 1 || len(last[key]) != 2 {
			t.Errorf("serving %v, want the endpoint that is ready and the one that drains", last)
		}
		if backends, _ := r.plane.Backends(key); len(backends) != 1 {
			t.Errorf("backends %v, want the one that is ready", backends)
		}
		r.send(transaction(udpEndpoints(nil)))
		synctest.Wait()
		if last := r.serving[len(r.serving)-1]; len(last) != 0 {
			t.Errorf("serving %v, want nothing: connections stay while nothing serves", last)
		}
		r.send(transaction(endpoints("demo/web", "10.244.1.1")))
		synctest.Wait()
		if last := r.serving[len(r.serving)-1]; len(last) != 0 {
			t.Errorf("a TCP Service asks for %v", last)
		}
	})
}

func TestHealthChecksFollowTheEndpointsOnTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		local := func(states map[string]discoveryv1.EndpointState) *discoveryv1.Resource {
			return &discoveryv1.Resource{Name: "demo/dns", Version: 4, Body: &discoveryv1.Resource_LocalEndpoints{
				LocalEndpoints: &discoveryv1.LocalEndpoints{Local: udpGroup(states)}}}
		}
		expect := func(when string, want ...ruleset.HealthCheck) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(r.checks, want) {
				t.Errorf("%s: health checks %v, want %v", when, r.checks, want)
			}
		}
		check := ruleset.HealthCheck{Listen: netip.MustParseAddrPort("192.168.0.2:32000"), Service: "demo/dns"}
		r.send(transaction(nodeConfig(nil), udpService("demo/dns", "10.96.0.53", 32000)))
		expect("without endpoints", check)
		const ready, terminating = discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED, discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING
		r.send(transaction(local(map[string]discoveryv1.EndpointState{"10.244.1.1": ready, "10.244.1.2": ready})))
		check.Ready = 2
		expect("with two", check)
		r.send(transaction(local(map[string]discoveryv1.EndpointState{"10.244.1.1": terminating})))
		check.Ready = 0
		expect("with one that terminates", check)
		check.Listen = netip.MustParseAddrPort("0.0.0.0:32000")
		r.send(transaction(nodeConfig(func(c *discoveryv1.NodeConfig) { c.NodePortAddresses = nil })))
		expect("with node ports on all addresses", check)
		r.send(transaction(udpService("demo/dns", "10.96.0.53", 0)))
		expect("without the port")
	})
}

func TestANodeThatIsGoneIsNotEligible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		expect := func(want string) {
			t.Helper()
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.ineligible != want {
				t.Errorf("ineligible because %q, want %q", r.ineligible, want)
			}
		}
		r.send(transaction())
		expect("")
		r.send(transaction(nodeConfig(func(c *discoveryv1.NodeConfig) { c.Ineligible = "the Node is being deleted" })))
		expect("the Node is being deleted")
		r.send(&subscribe.Transaction{Removed: []resource.Name{{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: "node-a"}}})
		expect("the Node is gone")
	})
}

// TestTheConfigurationOfANodeThatIsGoneStaysInForce is S131: somebody may have deleted
// the Node by mistake, and its kubelet will register it again.
func TestTheConfigurationOfANodeThatIsGoneStaysInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		all := nodeConfig(func(c *discoveryv1.NodeConfig) { c.MasqueradeAll = true })
		r.send(transaction(all, service("demo/web", "10.96.0.1", 30080), endpoints("demo/web", "10.244.1.1")))
		r.send(&subscribe.Transaction{Removed: []resource.Name{{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: "node-a"}}})
		r.send(transaction(endpoints("demo/web", "10.244.1.2")))
		r.expect("192.168.0.2:30080", "10.244.1.2:8080")
		if calls := r.plane.Calls(); calls.Replace != 1 || !r.plane.Settings().MasqueradeAll {
			t.Errorf("%+v, settings %+v: want that nothing was replaced", calls, r.plane.Settings())
		}
		r.send(transaction(nodeConfig(nil)))
		if r.plane.Settings().MasqueradeAll {
			t.Error("the configuration of the Node that came again is not in force")
		}
	})
}

func TestSysctlsAreSetWhenTheirConfigurationChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		limit := func(n uint32) *discoveryv1.Resource {
			return nodeConfig(func(c *discoveryv1.NodeConfig) { c.Conntrack = &discoveryv1.Conntrack{MaxPerCore: n} })
		}
		for _, n := range []uint32{1, 1, 2} {
			r.send(transaction(limit(n)))
		}
		synctest.Wait()
		if want := []uint32{1, 2}; !slices.Equal(r.sysctls, want) {
			t.Errorf("set %v, want %v", r.sysctls, want)
		}
	})
}

// TestAddressesThatCannotBeListedStayAsTheyWere, and node ports with them.
func TestAddressesThatCannotBeListedStayAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.setAddresses("192.168.0.2")
		r.send(transaction(service("demo/web", "10.96.0.1", 30080), endpoints("demo/web", "10.244.1.1"),
			nodeConfig(func(c *discoveryv1.NodeConfig) { c.NodePortAddresses = []string{"192.168.0.0/16"} })))
		r.mu.Lock()
		r.blind = errKernel
		r.mu.Unlock()
		r.setAddresses()
		r.expect("192.168.0.2:30080", "10.244.1.1:8080")
	})
}

// TestEverythingIsPutIntoTheKernelAnewEveryHour is S126.
func TestEverythingIsPutIntoTheKernelAnewEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
		time.Sleep(2*resyncPeriod + time.Minute)
		synctest.Wait()
		if calls := r.plane.Calls(); calls.Replace != 3 {
			t.Errorf("calls %+v, want a Replace an hour", calls)
		}
	})
}

// TestAFailureAfterASuccessIsRetriedAtOnce: what went before does not count.
func TestAFailureAfterASuccessIsRetriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.plane.Fail(errKernel)
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		time.Sleep(10 * time.Minute)
		r.plane.Fail(nil)
		time.Sleep(time.Minute)
		r.plane.Fail(errKernel)
		r.send(transaction(endpoints("demo/web", "10.244.2.2")))
		r.plane.Fail(nil)
		time.Sleep(firstRetry)
		synctest.Wait()
		r.expect("10.96.0.1:80", "10.244.2.2:8080")
	})
}

// TestNoConnectionEndsBeforeTheRulesAreInForce is S121.
func TestNoConnectionEndsBeforeTheRulesAreInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		const ready = discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED
		r.send(transaction(nodeConfig(nil), udpService("demo/dns", "10.96.0.53", 0), udpEndpoints(map[string]discoveryv1.EndpointState{"10.244.1.1": ready})))
		r.plane.Fail(errKernel)
		r.send(transaction(udpEndpoints(map[string]discoveryv1.EndpointState{"10.244.2.2": ready})))
		if last := r.serving[len(r.serving)-1]; len(last) != 0 {
			t.Errorf("asked to look at %v while the rules of before are in force", last)
		}
		r.plane.Fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if last := r.serving[len(r.serving)-1]; len(last) != 1 {
			t.Errorf("asked to look at %v after the rules are in force", last)
		}
	})
}

// TestACheckpointIsOfWhatIsInForce: neither of what the kernel has refused, nor of
// nothing because no control plane has spoken.
func TestACheckpointIsOfWhatIsInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, path := fake.New(dataplane.IPv4), filepath.Join(t.TempDir(), "checkpoint")
		plane.Hold(&ruleset.Frontend{Key: tcp("10.96.0.9:80")})
		silent := newRig(t, plane, path)
		silent.close()
		if silent.writes != 0 {
			t.Errorf("%d checkpoints of nothing", silent.writes)
		}
		r := newRig(t, plane, path)
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0)))
		time.Sleep(2 * checkpointDelay)
		r.plane.Fail(errKernel)
		refused := transaction(service("demo/refused", "10.96.0.2", 0))
		refused.Revision = 8
		r.send(refused)
		r.close()
		restored, header, err := state.ReadFile(path, "node-a")
		if err != nil || header.Revision != 7 || header.Source.Source != "test" || restored.Service("demo/web") == nil || restored.Service("demo/refused") != nil {
			t.Errorf("checkpoint of %v: %+v, error %v", restored.Services(), header, err)
		}
	})
}
