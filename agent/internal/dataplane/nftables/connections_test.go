package nftables

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// busyService is the Service that connections are made to, among a fleet.
const busyService = "10.96.200.1:80"

// layout is what stands between clients and backends.
type layout struct {
	name    string
	install func()
	remove  func()
	address func(i int) string
	// spent is the processor time of each round, a connection.
	spent []time.Duration
	rates []float64
}

// BenchmarkNewConnections makes connections through our rules, through kube-proxy's
// shape and without rules, in turns, among 1,000 Services. An operation is one round of
// all three.
func BenchmarkNewConnections(b *testing.B) {
	const size, connections = 1000, 4000
	plane, p, f := openBench(b), openPeer(b), newFleet(size)
	backends := serveBackends(b, 10)
	v := clusterView(backends)
	v.Service.ClusterIPs = addrs(netip.MustParseAddrPort(busyService).Addr().String())
	update(f.table, v)
	toService := func(int) string { return busyService }
	layouts := []*layout{
		{name: "ours", install: func() { f.replace(b, plane) }, address: toService, remove: func() {
			if err := plane.Cleanup(context.Background()); err != nil {
				b.Fatal(err)
			}
		}},
		{name: "peer", install: func() { p.load(b, f) }, remove: func() { p.remove(b) }, address: toService},
		{name: "direct", install: func() {}, remove: func() {}, address: func(i int) string { return backends[i%len(backends)].addr.String() }},
	}
	for b.Loop() {
		for _, l := range layouts {
			l.install()
			begun, used := time.Now(), cpu()
			connect(b, l.address, connections)
			l.spent = append(l.spent, (cpu()-used)/connections)
			l.rates = append(l.rates, connections/time.Since(begun).Seconds())
			l.remove()
		}
	}
	for _, l := range layouts {
		// The lower quartile: what others do on the machine only adds.
		b.ReportMetric(float64(quartile(l.spent, 1).Nanoseconds())/1000, l.name+"-cpu-us/connection")
		b.ReportMetric(1e9/float64(quartile(l.spent, 1).Nanoseconds()), l.name+"-connections/cpu-s")
		b.ReportMetric(quartile(l.rates, 3), l.name+"-connections/s")
	}
}

func quartile[T float64 | time.Duration](list []T, q int) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)*q/4]
}

// connect makes n connections, two at a time, each of which must succeed.
func connect(b *testing.B, address func(i int) string, n int) {
	b.Helper()
	const clients = 2
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			for i := c; i < n; i += clients {
				conn, err := net.DialTimeout("tcp", address(i), 5*time.Second)
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
