package nftables

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/test/cost"
)

// The floor of a transaction is the kernel's own work: the same bytes, encoded before,
// sent by the same socket.

// cost loads a fleet into a plane that holds nothing, makes so many changes, and returns
// what both cost.
func (f *fleet) cost(b *testing.B, plane *Plane, flips int) (load, changes time.Duration) {
	b.Helper()
	begun := cost.CPU()
	if err := plane.Replace(context.Background(), testSettings, f.table); err != nil {
		b.Fatal(err)
	}
	load = cost.CPU() - begun
	begun = cost.CPU()
	for range flips {
		f.flip(b, plane)
	}
	changes = cost.CPU() - begun
	if err := plane.Cleanup(context.Background()); err != nil {
		b.Fatal(err)
	}
	return load, changes
}

// encodedWhole returns the transaction by which a Replace would load the fleet now.
func (f *fleet) encodedWhole(b *testing.B, plane *Plane) [][]byte {
	b.Helper()
	tx, next := &transaction{recorder: plane.recorder}, newBatch(plane.family)
	next.whole(testSettings, f.table)
	err := plane.queueTable(tx, newLoaded(plane.family, testSettings), next, testSettings)
	if settled := tx.settle(); err == nil {
		err = settled
	}
	if err != nil {
		b.Fatal(err)
	}
	return tx.buffers
}

// encodedFlip returns the transaction of the next flip. The plane takes it for done.
func (f *fleet) encodedFlip(b *testing.B, plane *Plane) [][]byte {
	b.Helper()
	f.flips++
	name := fmt.Sprintf("bench/%d", f.size/2)
	changes := f.table.Update(slices.Values([]string{name}), func(name string) ruleset.View { return f.view(name, f.flips) })
	tx, next := &transaction{recorder: plane.recorder}, newBatch(plane.family)
	for _, change := range changes.Frontends {
		next.change(change, plane.loaded.spare)
	}
	next.members(&changes, plane.family.is6)
	err := plane.queueChange(tx, next, &changes)
	if settled := tx.settle(); err == nil {
		err = settled
	}
	if err != nil {
		b.Fatal(err)
	}
	return tx.buffers
}

func send(b *testing.B, plane *Plane, buffers [][]byte) time.Duration {
	b.Helper()
	begun := cost.CPU()
	if err := plane.socket.commit(0, buffers); err != nil {
		b.Fatal(err)
	}
	return cost.CPU() - begun
}

// BenchmarkWholeLoadOverFloor replaces everything by everything, and sends the bytes of
// the same, in turns.
func BenchmarkWholeLoadOverFloor(b *testing.B) {
	for _, size := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("services=%d", size), func(b *testing.B) {
			plane, f := openBench(b), newFleet(size)
			f.replace(b, plane)
			floor := f.encodedWhole(b, plane)
			var ours, least time.Duration
			for b.Loop() {
				ours += f.replace(b, plane)
				least += send(b, plane, floor)
			}
			b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N), "ours-cpu-ms/load")
			b.ReportMetric(float64(least.Microseconds())/1000/float64(b.N), "floor-cpu-ms/load")
		})
	}
}

// replace replaces everything, also what is there already.
func (f *fleet) replace(b *testing.B, plane *Plane) time.Duration {
	b.Helper()
	begun := cost.CPU()
	plane.known = false
	made, elements, err := plane.replace(testSettings, f.table, true)
	if err != nil || elements < f.size*endpointsPerService {
		b.Fatal(elements, err)
	}
	plane.loaded, plane.known = made, true
	return cost.CPU() - begun
}

// BenchmarkOneChangeOverFloor flips one endpoint, and sends the bytes of the same, in
// turns of a hundred flips.
func BenchmarkOneChangeOverFloor(b *testing.B) {
	const flips = 100
	for _, size := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("services=%d", size), func(b *testing.B) {
			plane, f := openBench(b), newFleet(size)
			f.replace(b, plane)
			there, back := f.encodedFlip(b, plane), f.encodedFlip(b, plane)
			var ours, least time.Duration
			for b.Loop() {
				for range flips / 2 {
					least += send(b, plane, there) + send(b, plane, back)
				}
				begun := cost.CPU()
				for range flips {
					f.flip(b, plane)
				}
				ours += cost.CPU() - begun
			}
			b.ReportMetric(float64(ours.Nanoseconds())/1000/float64(b.N*flips), "ours-cpu-us/change")
			b.ReportMetric(float64(least.Nanoseconds())/1000/float64(b.N*flips), "floor-cpu-us/change")
		})
	}
}

// BenchmarkOneChangeBySize flips one endpoint at sizes from a small cluster's to one
// beyond what we aim at: the curve is to be flat.
func BenchmarkOneChangeBySize(b *testing.B) {
	const flips = 500
	for _, size := range []int{100, 1000, 5000, 10_000, 20_000} {
		b.Run(fmt.Sprintf("services=%d", size), func(b *testing.B) {
			plane, f := openBench(b), newFleet(0)
			f.replace(b, plane)
			f.growTo(b, plane, size)
			var spent time.Duration
			for b.Loop() {
				begun := cost.CPU()
				for range flips {
					f.flip(b, plane)
				}
				spent += cost.CPU() - begun
			}
			b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(b.N*flips), "cpu-us/change")
		})
	}
}

// growTo adds Services, in transactions that can be sent from a user namespace.
func (f *fleet) growTo(b *testing.B, plane *Plane, size int) {
	b.Helper()
	const atMost = 5000
	for f.size < size {
		var names []string
		for range min(atMost, size-f.size) {
			names = append(names, fmt.Sprintf("bench/%d", f.size))
			f.size++
		}
		changes := f.table.Update(slices.Values(names), func(name string) ruleset.View { return f.view(name, 0) })
		if err := plane.Apply(context.Background(), &changes); err != nil {
			b.Fatal(err)
		}
	}
}
