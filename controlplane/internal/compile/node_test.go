package compile

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

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
