package conntrack

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// entry is a connection from a client to a destination that something answers.
type entry struct {
	protocol             uint8
	destination, answers string
}

// enter puts an entry into the kernel's table.
func enter(t *testing.T, e entry, clientPort uint16) {
	t.Helper()
	destination, answers := netip.MustParseAddrPort(e.destination), netip.MustParseAddrPort(e.answers)
	client, family := net.ParseIP("10.9.0.1"), netlink.InetFamily(unix.AF_INET)
	if destination.Addr().Is6() {
		client, family = net.ParseIP("fd09::1"), unix.AF_INET6
	}
	flow := &netlink.ConntrackFlow{
		FamilyType: uint8(family), TimeOut: 100,
		Forward: netlink.IPTuple{Protocol: e.protocol, SrcIP: client, SrcPort: clientPort, DstIP: destination.Addr().AsSlice(), DstPort: destination.Port()},
		Reverse: netlink.IPTuple{Protocol: e.protocol, SrcIP: answers.Addr().AsSlice(), SrcPort: answers.Port(), DstIP: client, DstPort: clientPort},
	}
	if e.protocol == unix.IPPROTO_TCP {
		flow.ProtoInfo = &netlink.ProtoInfoTCP{State: nlTCPEstablished}
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, family, flow); err != nil {
		t.Fatalf("entering %+v: %v", e, err)
	}
}

// nlTCPEstablished is TCP_CONNTRACK_ESTABLISHED.
const nlTCPEstablished = 3

// left lists the entries that are in the table, as "destination answers".
func left(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flows {
			list = append(list, fmt.Sprintf("%d %s:%d %s:%d", f.Forward.Protocol, f.Forward.DstIP, f.Forward.DstPort, f.Reverse.SrcIP, f.Reverse.SrcPort))
		}
	}
	slices.Sort(list)
	return list
}

func serving(frontends map[string][]string) ruleset.Serving {
	s := ruleset.Serving{}
	for frontend, endpoints := range frontends {
		key := ruleset.UDP(netip.MustParseAddrPort(frontend))
		for _, e := range endpoints {
			s[key] = append(s[key], netip.MustParseAddrPort(e))
		}
	}
	return s
}

func TestOnlyUDPEntriesOfFrontendsThatNothingServesAreDeleted(t *testing.T) {
	const udp, tcp = unix.IPPROTO_UDP, unix.IPPROTO_TCP
	entries := []entry{
		{udp, "10.96.0.53:53", "10.244.1.1:5353"},            // Still serves.
		{udp, "10.96.0.53:53", "10.244.9.9:5353"},            // Has gone.
		{udp, "10.96.0.53:53", "10.244.1.1:5300"},            // Its port has changed.
		{udp, "10.96.0.53:53", "10.96.0.53:53"},              // From before there was a rule.
		{udp, "10.96.0.99:53", "10.244.9.9:5353"},            // Of a frontend that is not asked about.
		{udp, "10.244.9.9:5353", "10.244.9.9:5353"},          // Straight to a pod.
		{tcp, "10.96.0.53:53", "10.244.9.9:5353"},            // TCP ends by itself.
		{udp, "[fd00:96::53]:53", "[fd00:10:244::9]:5353"},   // Has gone.
		{udp, "[fd00:96::53]:53", "[fd00:10:244:1::1]:5353"}, // Still serves.
	}
	for i, e := range entries {
		enter(t, e, uint16(40000+i))
	}
	observed := map[dataplane.Family]uint{}
	deleted, err := Remove(t.Context(), serving(map[string][]string{
		"10.96.0.53:53": {"10.244.1.1:5353", "10.244.2.2:5353"}, "[fd00:96::53]:53": {"[fd00:10:244:1::1]:5353"},
	}), func(family dataplane.Family, entries uint, took time.Duration) {
		observed[family] += entries
		if took <= 0 {
			t.Errorf("%s took %s", family, took)
		}
	})
	if err != nil || deleted != 4 {
		t.Errorf("deleted %d, %v; want 4", deleted, err)
	}
	if want := map[dataplane.Family]uint{dataplane.IPv4: 3, dataplane.IPv6: 1}; !maps.Equal(observed, want) {
		t.Errorf("observed %v, want %v", observed, want)
	}
	want := []string{
		"17 10.244.9.9:5353 10.244.9.9:5353",
		"17 10.96.0.53:53 10.244.1.1:5353",
		"17 10.96.0.99:53 10.244.9.9:5353",
		"17 fd00:96::53:53 fd00:10:244:1::1:5353",
		"6 10.96.0.53:53 10.244.9.9:5353",
	}
	if got := left(t); !slices.Equal(got, want) {
		t.Errorf("left\n%q\nwant\n%q", got, want)
	}
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		t.Fatal(err)
	}
}

func TestTheCleanerWorksApartAndMergesRequests(t *testing.T) {
	enter(t, entry{unix.IPPROTO_UDP, "10.96.0.1:53", "10.244.9.9:53"}, 40000)
	enter(t, entry{unix.IPPROTO_UDP, "10.96.0.2:53", "10.244.9.9:53"}, 40001)
	runs := make(chan uint, 4)
	cleaner := New(hclog.NewNullLogger(), func(family dataplane.Family, entries uint, _ time.Duration) {
		if family != dataplane.IPv4 {
			t.Errorf("looked at %s, which nobody asked about", family)
		}
		runs <- entries
	})
	cleaner.Clean(nil)
	cleaner.Clean(serving(map[string][]string{"10.96.0.1:53": {"10.244.9.9:53"}, "10.96.0.2:53": {"10.244.1.1:53"}}))
	cleaner.Clean(serving(map[string][]string{"10.96.0.1:53": {"10.244.1.1:53"}}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- cleaner.Run(ctx) }()
	select {
	case deleted := <-runs:
		if deleted != 2 {
			t.Errorf("the first run deleted %d entries, want both", deleted)
		}
	case <-time.After(10 * time.Second):
		t.Error("the cleaner does not run")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
