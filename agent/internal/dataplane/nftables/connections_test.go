package nftables

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/cost"
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
			begun, used := time.Now(), cost.CPU()
			cost.Connect(b, connections, 5*time.Second, l.address)
			l.spent = append(l.spent, (cost.CPU()-used)/connections)
			l.rates = append(l.rates, connections/time.Since(begun).Seconds())
			l.remove()
		}
	}
	for _, l := range layouts {
		// The lower quartile: what others do on the machine only adds.
		b.ReportMetric(float64(cost.Quartile(l.spent, 1).Nanoseconds())/1000, l.name+"-cpu-us/connection")
		b.ReportMetric(1e9/float64(cost.Quartile(l.spent, 1).Nanoseconds()), l.name+"-connections/cpu-s")
		b.ReportMetric(cost.Quartile(l.rates, 3), l.name+"-connections/s")
	}
}
