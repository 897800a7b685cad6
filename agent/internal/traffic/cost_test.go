package traffic

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/test/cost"
)

// account says whether the kernel counts bytes of connections.
func account(b *testing.B, on bool) {
	b.Helper()
	value := "0"
	if on {
		value = "1"
	}
	if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_acct", []byte(value), 0); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkConnections makes connections to a Service and has the kernel forget them, while
// nobody counts and while a meter does, in turns. What is reported is the processor time of
// all of it: clients, endpoint, kernel and meter.
func BenchmarkConnections(b *testing.B) {
	const connections = 4000
	serve(b)
	toWeb := func(int) string { return web.Addr.String() + ":80" }
	// The lower quartile: what others do on the machine only adds.
	microseconds := func(list []time.Duration) float64 { return float64(cost.Quartile(list, 1).Nanoseconds()) / 1000 }
	var plain, counted []time.Duration
	for b.Loop() {
		account(b, false)
		begun := cost.CPU()
		cost.Connect(b, connections, soon, toWeb)
		forget(b)
		plain = append(plain, (cost.CPU()-begun)/connections)

		account(b, true)
		m, stop := run(b, time.Hour)
		listening(b, m)
		base := of(m, "d/web").Connections
		begun = cost.CPU()
		cost.Connect(b, connections, soon, toWeb)
		forget(b)
		eventually(b, "all connections are counted", m, "d/web", func(c Count) bool { return c.Connections == base+connections })
		counted = append(counted, (cost.CPU()-begun)/connections)
		stop()
	}
	b.ReportMetric(microseconds(plain), "plain-cpu-us/connection")
	b.ReportMetric(microseconds(counted), "counted-cpu-us/connection")
}

// BenchmarkTable reads the kernel's table of 50,000 connections to a Service, that have been
// there before: the processor time of the kernel and the meter.
func BenchmarkTable(b *testing.B) {
	const connections = 50_000
	serve(b)
	account(b, true)
	forget(b)
	b.Cleanup(func() { forget(b) })
	handle, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		b.Fatal(err)
	}
	defer handle.Close()
	for i := range connections {
		client, endpoint := net.IPv4(10, 8, byte(i>>8), byte(i)).To4(), net.ParseIP(node).To4()
		f := &netlink.ConntrackFlow{FamilyType: unix.AF_INET, TimeOut: 3600,
			Forward: netlink.IPTuple{SrcIP: client, DstIP: net.ParseIP(dns.Addr.String()).To4(), SrcPort: 40000, DstPort: 53, Protocol: unix.IPPROTO_UDP},
			Reverse: netlink.IPTuple{SrcIP: endpoint, DstIP: client, SrcPort: 8080, DstPort: 40000, Protocol: unix.IPPROTO_UDP}}
		if err := handle.ConntrackCreate(netlink.ConntrackTable, netlink.InetFamily(unix.AF_INET), f); err != nil {
			b.Fatalf("connection %d: %v", i, err)
		}
	}
	m := New(time.Hour, hclog.NewNullLogger())
	m.Update([]ruleset.Change{{New: dns}})
	table, err := openTable()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = table.close() })
	if err := m.look(table, false); err != nil {
		b.Fatal(err)
	}
	if c := of(m, "d/dns"); c.Connections != connections || c.Open != connections {
		b.Fatalf("the table was read as %+v, want %d connections", c, connections)
	}
	begun := cost.CPU()
	for b.Loop() {
		if err := m.look(table, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cost.CPU()-begun).Microseconds())/1000/float64(b.N), "cpu-ms/table")
}
