package nftables

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/test/cost"
)

const endpointsPerService = 10

// fleet is a number of Services with ten endpoints each.
type fleet struct {
	table *ruleset.Table
	size  int
	flips int
}

func newFleet(size int) *fleet {
	f := &fleet{table: ruleset.NewTable(), size: size}
	f.table.Update(f.names(), func(name string) ruleset.View { return f.view(name, 0) })
	return f
}

func (f *fleet) names() func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range f.size {
			if !yield(fmt.Sprintf("bench/%d", i)) {
				return
			}
		}
	}
}

// view is a Service; its last endpoint depends on the flip.
func (f *fleet) view(name string, flip int) ruleset.View {
	var i int
	_, _ = fmt.Sscanf(name, "bench/%d", &i)
	group := state.Group{Ports: []state.EndpointPort{{Protocol: state.TCP, Port: 8080}}}
	var list []state.Endpoint
	for e := range endpointsPerService {
		last := byte(e)
		if e == endpointsPerService-1 {
			last += byte(flip%2) * 100
		}
		list = append(list, state.Endpoint{Addr: netip.AddrFrom4([4]byte{10, byte(128 + i>>8), byte(i), last})})
	}
	group.Endpoints = state.PackEndpoints(list...)
	return ruleset.View{
		Service: &state.Service{Name: name, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
			Ports: []state.Port{{Protocol: state.TCP, Port: 80}}},
		Sets: []*state.EndpointSet{{Name: name + "-1", Service: name, Groups: []state.Group{group}}},
	}
}

// flip replaces one endpoint of one Service, from the change to the commit.
func (f *fleet) flip(b *testing.B, plane *Plane) {
	f.flips++
	name := fmt.Sprintf("bench/%d", f.size/2)
	changes := f.table.Update(slices.Values([]string{name}), func(name string) ruleset.View { return f.view(name, f.flips) })
	if err := plane.Apply(context.Background(), &changes); err != nil {
		b.Fatal(err)
	}
}

// openBench opens the plane of IPv4, which is all that a fleet has.
func openBench(b *testing.B) *Plane {
	b.Helper()
	return open(b)[0]
}

// BenchmarkWholeLoad replaces everything, as the first agent of a node does, or one that
// finds other rules than its own.
func BenchmarkWholeLoad(b *testing.B) { benchmarkReplace(b, true) }

// BenchmarkResync compares everything with what the kernel holds, and commits what
// differs: nothing.
func BenchmarkResync(b *testing.B) { benchmarkReplace(b, false) }

func benchmarkReplace(b *testing.B, everything bool) {
	for _, size := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("services=%d", size), func(b *testing.B) {
			plane, f := openBench(b), newFleet(size)
			if err := plane.Replace(context.Background(), testSettings, f.table); err != nil {
				b.Fatal(err)
			}
			begun := cost.CPU()
			for b.Loop() {
				plane.known = false
				_, elements, err := plane.replace(testSettings, f.table, everything)
				if err != nil || everything != (elements > 0) {
					b.Fatal(elements, err)
				}
			}
			b.ReportMetric(float64((cost.CPU()-begun).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
		})
	}
}

// BenchmarkCompare compares everything with what the kernel holds, as portolan diff asks for,
// and reports how much of a whole load that costs.
func BenchmarkCompare(b *testing.B) {
	plane, f := openBench(b), newFleet(10_000)
	var comparing, loading time.Duration
	for b.Loop() {
		begun := cost.CPU()
		plane.known = false
		if _, _, err := plane.replace(testSettings, f.table, true); err != nil {
			b.Fatal(err)
		}
		loading += cost.CPU() - begun
		if err := plane.Replace(context.Background(), testSettings, f.table); err != nil {
			b.Fatal(err)
		}
		begun = cost.CPU()
		found, err := plane.Compare(context.Background(), testSettings, f.table)
		if err != nil || len(found) > 0 {
			b.Fatal(found, err)
		}
		comparing += cost.CPU() - begun
	}
	b.ReportMetric(float64(comparing.Microseconds())/float64(b.N)/1000, "cpu-ms/op")
	b.ReportMetric(float64(comparing)/float64(loading), "of-a-whole-load")
}

// BenchmarkOneChange replaces one endpoint at two sizes in one run: the promise is
// that the cost does not depend on the size.
func BenchmarkOneChange(b *testing.B) {
	const flips = 500
	plane := openBench(b)
	spent := map[int]time.Duration{}
	for b.Loop() {
		for _, size := range []int{1000, 10_000} {
			f := newFleet(size)
			if err := plane.Replace(context.Background(), testSettings, f.table); err != nil {
				b.Fatal(err)
			}
			begun := cost.CPU()
			for range flips {
				f.flip(b, plane)
			}
			spent[size] += (cost.CPU() - begun) / flips
		}
	}
	n := time.Duration(b.N)
	b.ReportMetric(float64((spent[1000]/n).Nanoseconds())/1000, "cpu-us/change-at-1k")
	b.ReportMetric(float64((spent[10_000]/n).Nanoseconds())/1000, "cpu-us/change-at-10k")
	b.ReportMetric(float64(spent[10_000])/float64(spent[1000]), "10k/1k")
}

// BenchmarkNewConnectionsWhileEndpointsFlip makes b.N connections to one Service
// while its endpoints change as fast as they can. It reports how many were lost:
// a commit that takes a slot away between two look-ups of a packet loses some.
func BenchmarkNewConnectionsWhileEndpointsFlip(b *testing.B) {
	plane, table := openBench(b), ruleset.NewTable()
	backends := serveBackends(b, 10)
	update(table, clusterView(backends))
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		b.Fatal(err)
	}
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changes := 0
	changing.Go(func() {
		for ; ; changes++ {
			select {
			case <-stop:
				return
			default:
			}
			serving := backends
			if changes%2 == 0 {
				serving = slices.Delete(slices.Clone(backends), changes/2%len(backends), changes/2%len(backends)+1)
			}
			next := update(table, clusterView(serving))
			if err := plane.Apply(context.Background(), &next); err != nil {
				b.Error(err)
				return
			}
		}
	})
	var lost atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			conn, err := net.DialTimeout("tcp", "10.96.0.1:80", 5*time.Second)
			if err != nil {
				lost.Add(1)
				continue
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	})
	b.StopTimer()
	close(stop)
	changing.Wait()
	b.ReportMetric(float64(lost.Load()), "lost")
	b.ReportMetric(float64(changes), "changes")
}
