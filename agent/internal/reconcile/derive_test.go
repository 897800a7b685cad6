package reconcile

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestWhatTheDataPlaneIsConfiguredWith(t *testing.T) {
	prefix := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	config := &state.NodeConfig{
		Detect: discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, DetectCIDRs: prefix("10.244.0.0/16"), DetectInterface: "cni0",
		MasqueradeAll: true, MasqueradeBit: 3, Conntrack: &discoveryv1.Conntrack{TcpBeLiberal: true},
	}
	cluster := &state.ClusterConfig{ServiceCIDRs: prefix("10.96.0.0/16")}
	want := dataplane.Settings{
		Detect: config.Detect, DetectCIDRs: config.DetectCIDRs, DetectInterface: "cni0",
		MasqueradeAll: true, MasqueradeBit: 3, TCPBeLiberal: true, ServiceCIDRs: cluster.ServiceCIDRs,
	}
	if diff := cmp.Diff(want, Settings(config, cluster, nil), compareAddrs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(dataplane.Settings{MasqueradeBit: 14}, Settings(nil, nil, nil), compareAddrs); diff != "" {
		t.Errorf("knowing nothing (-want +got)\n%s", diff)
	}
}

func TestIPVSIsAskedForByItsModeAlone(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.168.0.2")}
	config := &state.NodeConfig{
		IPVS: &discoveryv1.Ipvs{Scheduler: "lc", StrictArp: true, TcpTimeout: durationpb.New(time.Minute),
			TcpFinTimeout: durationpb.New(2 * time.Minute), UdpTimeout: durationpb.New(3 * time.Minute)},
		IPVSExclude: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
	}
	if got := Settings(config, nil, own).IPVS; got != nil {
		t.Errorf("in nftables mode: %+v", got)
	}
	config.Mode = discoveryv1.ProxyMode_PROXY_MODE_IPVS
	want := &dataplane.IPVS{Scheduler: "lc", StrictARP: true, TCPTimeout: time.Minute, TCPFinTimeout: 2 * time.Minute, UDPTimeout: 3 * time.Minute,
		Exclude: config.IPVSExclude, OwnAddrs: own}
	if diff := cmp.Diff(want, Settings(config, nil, own).IPVS, compareAddrs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatTheNodeAdds(t *testing.T) {
	own, all := []netip.Addr{netip.MustParseAddr("192.168.0.2")}, []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.168.0.2")}
	for name, c := range map[string]struct {
		config *state.NodeConfig
		want   ruleset.Environment
	}{
		"a node without configuration": {nil, ruleset.Environment{}},
		"its own addresses": {&state.NodeConfig{NodeIPs: own, NodePortPrimary: true, LocalhostNodePorts: true},
			ruleset.Environment{NodeIPs: own, NodePortAddrs: own, HealthCheckAddrs: own, LocalhostNodePorts: true}},
		"those in a range": {&state.NodeConfig{NodeIPs: own, NodePortCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, LocalhostNodePorts: true},
			ruleset.Environment{NodeIPs: own, NodePortAddrs: all[:1], HealthCheckAddrs: []netip.Addr{all[0], netip.IPv6Unspecified()}, LocalhostNodePorts: true}},
	} {
		if diff := cmp.Diff(c.want, Environment(c.config, all), compareAddrs); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// TestOnceWantsAConfiguration: without one it would take node ports away.
func TestOnceWantsAConfiguration(t *testing.T) {
	plane := fake.New(dataplane.IPv4)
	_, err := Once(context.Background(), Config{
		Node: "node-a", Dataplanes: []dataplane.Dataplane{plane}, Logger: hclog.NewNullLogger(),
		Addresses: func() ([]netip.Addr, error) { return nil, nil },
	}, []*discoveryv1.Resource{service("demo/web", "10.96.0.1", 0)})
	if err == nil || !strings.Contains(err.Error(), `node "node-a" has no configuration`) || plane.Calls() != (fake.Calls{}) {
		t.Errorf("error %v, calls %+v", err, plane.Calls())
	}
}
