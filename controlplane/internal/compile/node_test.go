package compile

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func TestNodeConfigBody(t *testing.T) {
	node := &model.Node{Name: "a", Zone: "z1", IPs: []netip.Addr{netip.MustParseAddr("192.168.0.2")}, Ineligible: "the Node is being deleted"}
	settings := Settings{
		Mode: discoveryv1.ProxyMode_PROXY_MODE_IPVS, NodePortAddresses: []string{"10.0.0.0/8"},
		DetectLocal: discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX, Interface: "veth",
		MasqueradeAll: true, MasqueradeBit: 5, SyncPeriod: 40 * time.Second, MinSyncPeriod: 2 * time.Second,
		IPVS: &discoveryv1.Ipvs{Scheduler: "rr"}, Conntrack: &discoveryv1.Conntrack{TcpBeLiberal: true},
	}
	expectConfig(t, nodeConfig(node, settings), `
		mode: PROXY_MODE_IPVS zone: "z1" node_ips: "192.168.0.2" node_port_addresses: "10.0.0.0/8"
		detect_local { mode: DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX interface: "veth" }
		masquerade_all: true masquerade_bit: 5 sync_period { seconds: 40 } min_sync_period { seconds: 2 }
		ipvs { scheduler: "rr" } conntrack { tcp_be_liberal: true } ineligible: "the Node is being deleted"`)
}

// TestDefaultsAreThoseOfKubeProxyInNFTablesMode is S174, but that changes are not spaced
// unless somebody asks (S124): here each costs what it changes.
func TestDefaultsAreThoseOfKubeProxyInNFTablesMode(t *testing.T) {
	expectConfig(t, nodeConfig(&model.Node{Name: "a"}, DefaultSettings()), `
		mode: PROXY_MODE_NFTABLES node_port_addresses: "primary" detect_local {}
		masquerade_bit: 14 sync_period { seconds: 30 } min_sync_period {}`)
}

func expectConfig(t *testing.T, got *discoveryv1.NodeConfig, text string) {
	t.Helper()
	var want discoveryv1.NodeConfig
	if err := prototext.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTheFirstAddressIsOfThePrimaryFamily is S113: that of the bind address, else
// that of the Node's first address.
func TestTheFirstAddressIsOfThePrimaryFamily(t *testing.T) {
	const v4, v6 = "192.168.0.2", "fd00::2"
	for name, c := range map[string]struct {
		ips     []string
		primary PrimaryFamily
		want    []string
	}{
		"as the Node says":         {[]string{v6, v4}, PrimaryOfNode, []string{v6, v4}},
		"IPv4 is bound":            {[]string{v6, v4}, PrimaryIPv4, []string{v4, v6}},
		"IPv6 is bound":            {[]string{v4, v6}, PrimaryIPv6, []string{v6, v4}},
		"a family that it has not": {[]string{v4}, PrimaryIPv6, []string{v4}},
		"none":                     {nil, PrimaryIPv6, nil},
	} {
		node := &model.Node{Name: "a"}
		for _, ip := range c.ips {
			node.IPs = append(node.IPs, netip.MustParseAddr(ip))
		}
		settings := DefaultSettings()
		settings.Primary = c.primary
		if got := nodeConfig(node, settings).GetNodeIps(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
