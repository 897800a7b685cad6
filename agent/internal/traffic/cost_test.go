package traffic

import (
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// spent returns the processor time that the process has used, the kernel's share included.
func spent() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

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
	var plain, counted []time.Duration
	for b.Loop() {
		account(b, false)
		begun := spent()
		connect(b, connections)
		forget(b)
		plain = append(plain, (spent()-begun)/connections)

		account(b, true)
		m, stop := run(b, time.Hour)
		listening(b, m)
		base := of(m, "d/web").Connections
		begun = spent()
		connect(b, connections)
		forget(b)
		eventually(b, "all connections are counted", m, "d/web", func(c Count) bool { return c.Connections == base+connections })
		counted = append(counted, (spent()-begun)/connections)
		stop()
	}
	// The lower quartile: what others do on the machine only adds.
	b.ReportMetric(quartile(plain), "plain-cpu-us/connection")
	b.ReportMetric(quartile(counted), "counted-cpu-us/connection")
}

// quartile returns the lower one in microseconds.
func quartile(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[(len(list)-1)/4].Nanoseconds()) / 1000
}

// connect makes n connections, two at a time.
func connect(b *testing.B, n int) {
	b.Helper()
	const clients = 2
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for range n / clients {
				conn, err := net.DialTimeout("tcp", web.Addr.String()+":80", soon)
				if err != nil {
					b.Error(err)
					return
				}
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		})
	}
	running.Wait()
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
	begun := spent()
	for b.Loop() {
		if err := m.look(table, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((spent()-begun).Microseconds())/1000/float64(b.N), "cpu-ms/table")
}
