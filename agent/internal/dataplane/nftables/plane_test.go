package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

var testSettings = dataplane.Settings{
	Detect:        discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR,
	DetectCIDRs:   []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")},
	MasqueradeBit: 14,
	ServiceCIDRs:  []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:96::/112")},
}

// view is one dual-stack Service with everything that makes elements.
func view(backends ...string) ruleset.View {
	var group state.Group
	group.Ports = []state.EndpointPort{{Name: "http", Protocol: state.TCP, Port: 8080}}
	var list []state.Endpoint
	for _, b := range backends {
		list = append(list, state.Endpoint{Addr: netip.MustParseAddr(b)})
	}
	local := group
	group.Endpoints, local.Endpoints = state.PackEndpoints(list...), state.PackEndpoints(list[:len(list)/2]...)
	return ruleset.View{
		Service: &state.Service{
			Name:            "demo/web",
			ClusterIPs:      addrs("10.96.0.1", "fd00:96::1"),
			ExternalIPs:     addrs("198.51.100.20"),
			LoadBalancerIPs: addrs("198.51.100.10", "2001:db8::10"),
			Ports:           []state.Port{{Name: "http", Protocol: state.TCP, Port: 80, NodePort: 30080}, {Name: "none", Protocol: state.UDP, Port: 53}},
			ExternalLocal:   true,
			Affinity:        3 * time.Hour,
			SourceRanges:    []netip.Prefix{netip.MustParsePrefix("203.0.113.0/25"), netip.MustParsePrefix("2001:db8:1::/48")},
		},
		Sets:  []*state.EndpointSet{{Name: "demo/web-1", Service: "demo/web", Groups: []state.Group{group}}},
		Local: &state.LocalEndpoints{Name: "demo/web", Local: []state.Group{local}},
	}
}

func addrs(texts ...string) []netip.Addr {
	list := make([]netip.Addr, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddr(text)
	}
	return list
}

// planes are those of both families, which together hold a table.
type planes []*Plane

func openPlanes(t testing.TB) planes {
	t.Helper()
	both, err := Open(hclog.NewNullLogger(), dataplane.IPv4, dataplane.IPv6)
	if err != nil {
		t.Fatal(err)
	}
	return both
}

// open opens both planes, and removes at the end what they made.
func open(t testing.TB) planes {
	t.Helper()
	both := openPlanes(t)
	t.Cleanup(func() {
		for _, plane := range both {
			if err := errors.Join(plane.Cleanup(context.Background()), plane.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	return both
}

func (both planes) each(do func(*Plane) error) error {
	var errs []error
	for _, plane := range both {
		errs = append(errs, do(plane))
	}
	return errors.Join(errs...)
}

func (both planes) Replace(ctx context.Context, settings dataplane.Settings, table dataplane.Content) error {
	return both.each(func(p *Plane) error { return p.Replace(ctx, settings, table) })
}

func (both planes) Apply(ctx context.Context, changes *ruleset.Changes) error {
	return both.each(func(p *Plane) error { return p.Apply(ctx, changes) })
}

func (both planes) Collect(ctx context.Context) (removed bool, err error) {
	err = both.each(func(p *Plane) error {
		some, err := p.Collect(ctx)
		removed = removed || some
		return err
	})
	return removed, err
}

func (both planes) Disturbed(ctx context.Context) (disturbed bool, err error) {
	err = both.each(func(p *Plane) error {
		is, err := p.Disturbed(ctx)
		disturbed = disturbed || is
		return err
	})
	return disturbed, err
}

func (both planes) Cleanup(ctx context.Context) error {
	return both.each(func(p *Plane) error { return p.Cleanup(ctx) })
}

func (both planes) Pending() bool {
	return slices.ContainsFunc(both, func(p *Plane) bool { return p.Pending() })
}

// nft runs the nft command; it is the oracle of what the kernel holds.
func nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

var testEnvironment = ruleset.Environment{
	NodePortAddrs: []netip.Addr{netip.MustParseAddr("192.168.0.2")},
	NodeIPs:       []netip.Addr{netip.MustParseAddr("192.168.0.2")},
}

func update(table *ruleset.Table, v ruleset.View) ruleset.Changes {
	return table.Update(slices.Values([]string{"demo/web"}), func(string) ruleset.View { return v })
}

func TestNftPrintsEverythingWeMake(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	update(table, view("10.244.1.1", "10.244.2.2", "10.244.3.3", "fd00:10:244:1::1", "fd00:10:244:1::2"))
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	listing := nft(t, "list", "ruleset")
	for _, want := range []string{
		"10.96.0.1 . tcp . 80 : goto pick-3",
		"fd00:96::1 . tcp . 80 : goto pick-2",
		"198.51.100.10 . tcp . 80 : goto local-pick-2",
		"10.96.0.1 . udp . 53 : goto reject",
		"192.168.0.2 . tcp . 30080 : goto pick-3",
		"198.51.100.10 . tcp . 80 . 203.0.113.0/25",
		"numgen random mod 3 map @endpoints",
		"ip saddr != 10.244.0.0/16",
		"10.244.1.1 . 10.244.1.1 . tcp . 8080",
		"jump affinity-10800s",
		"10.96.0.0/16",
	} {
		if !strings.Contains(listing, want) {
			t.Errorf("nft list ruleset lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(listing)
	}
}

// TestNftPrintsEveryWayToChoose, as an operator reads it who asks why.
func TestNftPrintsEveryWayToChoose(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	for scheduler, wants := range map[string][]string{
		"rr": {"10.96.0.1 . tcp . 80 : goto turn-10.96.0.1-tcp-80-3", "198.51.100.10 . tcp . 80 : goto local-turn-198.51.100.10-tcp-80-2",
			"ip daddr . meta l4proto . th dport . numgen inc mod 3 map @endpoints",
			"fd00:96::1 . tcp . 80 : goto turn-fd00-0096-0000-0000-0000-0000-0000-0001-tcp-80-2"},
		"sh": {"10.96.0.1 . tcp . 80 : goto by-address-251", "ip daddr . meta l4proto . th dport . jhash ip saddr mod 251 seed 0x706f7274 map @endpoints",
			"ip6 daddr . meta l4proto . th dport . jhash ip6 saddr mod 251 seed 0x706f7274 map @endpoints"},
		"mh": {"10.96.0.1 . tcp . 80 : goto by-address-port-251", "jhash ip saddr . th sport mod 251 seed 0x706f7274 map @endpoints"},
		"fo": {"10.96.0.1 . tcp . 80 : goto pick-1"},
	} {
		v := view("10.244.1.1", "10.244.2.2", "10.244.3.3", "fd00:10:244:1::1", "fd00:10:244:1::2")
		v.Service.Scheduler = scheduler
		update(table, v)
		if err := plane.Replace(context.Background(), testSettings, table); err != nil {
			t.Fatal(err)
		}
		listing := nft(t, "list", "ruleset")
		for _, want := range wants {
			if !strings.Contains(listing, want) {
				t.Errorf("%s: nft list ruleset lacks %q:\n%s", scheduler, want, listing)
			}
		}
	}
}

func TestErrorsOfTheKernelSayWhatWasExpected(t *testing.T) {
	for errno, want := range map[error]string{
		unix.EPERM:           "expected CAP_NET_ADMIN",
		unix.EPROTONOSUPPORT: wantNFTables,
		unix.EINVAL:          wantNFTables,
		unix.ENOBUFS:         "no buffer space available",
	} {
		if got := explainListing(fmt.Errorf("netlink receive: %w", errno)).Error(); !strings.Contains(got, want) {
			t.Errorf("%v is explained as %q, want %q", errno, got, want)
		}
	}
}
