package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/resource"
)

var chooseKey = Key{Addr: netip.MustParseAddr("10.96.0.1"), Protocol: state.TCP, Port: 80}

func numbered(n int) Backends {
	list := make([]netip.AddrPort, n)
	for i := range list {
		list[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(i >> 8), byte(i)}), 8080)
	}
	return PackBackends(list...)
}

// slotsOfEach counts the slots of each backend, by its slot in the list.
func slotsOfEach(c Choice, of Backends) []int {
	counts := make([]int, of.Len())
	for _, b := range c.Slots.All() {
		counts[slices.Index(of.List(), b)]++
	}
	return counts
}

func TestASchedulerIsAWayToDrawSlots(t *testing.T) {
	three, weights := numbered(3), PackWeights(3, 1, 2)
	for _, test := range []struct {
		scheduler string
		draw      Draw
		slots     string
		exact     bool
	}{
		{"", Random, "[3 1 2]", true},
		{"rr", InTurn, "[1 1 1]", true},
		{"wrr", InTurn, "[3 1 2]", true},
		{"fo", Random, "[1 0 0]", true},
		{"lc", Random, "[1 1 1]", false},
		{"wlc", Random, "[3 1 2]", false},
		{"sed", Random, "[3 1 2]", false},
		{"nq", Random, "[3 1 2]", false},
		{"lblc", Random, "[3 1 2]", false},
		{"lblcr", Random, "[3 1 2]", false},
		{"ovf", Random, "[3 1 2]", false},
	} {
		c := Choose(test.scheduler, chooseKey, three, weights)
		if got := fmt.Sprint(slotsOfEach(c, three)); c.Draw != test.draw || resource.NeedsConnections(test.scheduler) == test.exact || got != test.slots {
			t.Errorf("%q: draw %d, exact %v, slots %s: want %d, %v, %s", test.scheduler, c.Draw, !resource.NeedsConnections(test.scheduler), got, test.draw, test.exact, test.slots)
		}
	}
	if c := Choose("wrr", chooseKey, three, weights); fmt.Sprint(c.Slots.List()) !=
		"[10.244.0.0:8080 10.244.0.1:8080 10.244.0.2:8080 10.244.0.0:8080 10.244.0.2:8080 10.244.0.0:8080]" {
		t.Errorf("wrr: slots %v", c.Slots)
	}
	if c := Choose("dh", chooseKey, three, weights); c.Slots.Len() != 1 || resource.NeedsConnections("dh") {
		t.Errorf("dh: %v", c)
	}
	if c := Choose("sh", chooseKey, Backends{}, Weights{}); c.Slots.Len() != 0 {
		t.Errorf("of no backends: %v", c)
	}
	var chosen []netip.AddrPort
	for i := range 64 {
		key := chooseKey
		key.Addr = netip.AddrFrom4([4]byte{10, 96, 1, byte(i)})
		chosen = append(chosen, Choose("dh", key, three, weights).Slots.At(0))
	}
	slices.SortFunc(chosen, netip.AddrPort.Compare)
	if len(slices.Compact(chosen)) != 3 {
		t.Errorf("64 destinations choose %v alone", slices.Compact(chosen))
	}
}

func TestWeightsAreKeptInProportion(t *testing.T) {
	for _, test := range []struct {
		weights []uint32
		want    string
	}{
		{[]uint32{100, 100, 200}, "[1 1 2]"},
		{[]uint32{65535, 65535}, "[1 1]"},
		{[]uint32{65535, 1}, "[1023 1]"},
		{[]uint32{3000, 1000, 1}, "[767 255 1]"},
	} {
		if got := fmt.Sprint(proportions(PackWeights(test.weights...), len(test.weights))); got != test.want {
			t.Errorf("%v: %s, want %s", test.weights, got, test.want)
		}
	}
	many := make([]uint32, 2000)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	sum := 0
	for _, share := range proportions(PackWeights(many...), len(many)) {
		if sum += share; share < 1 {
			t.Fatal("a backend of weight has no slot")
		}
	}
	if sum > 2*len(many) {
		t.Errorf("%d slots for %d backends", sum, len(many))
	}
}

// TestAHashSharesEvenlyAndKeepsClients: shares differ by little from what the weights say,
// the order of the backends does not matter, and one that goes takes few others' slots.
func TestAHashSharesEvenlyAndKeepsClients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 120).Draw(t, "backends")
		all := numbered(n)
		list := make([]uint32, n)
		total := 0
		weighted := rapid.Bool().Draw(t, "weighted")
		for i := range list {
			if list[i] = 1; weighted {
				list[i] = uint32(rapid.IntRange(1, 4).Draw(t, "weight"))
			}
			total += int(list[i])
		}
		table := Choose("sh", chooseKey, all, PackWeights(list...))
		for i, got := range slotsOfEach(table, all) {
			want := float64(table.Slots.Len()) * float64(list[i]) / float64(total)
			if diff := float64(got) - want; diff < -2 || diff > 2 {
				t.Fatalf("backend %d of weight %d has %d of %d slots: want about %.1f", i, list[i], got, table.Slots.Len(), want)
			}
		}
		order := rapid.Permutation(all.List()).Draw(t, "order")
		reordered := make([]uint32, n)
		for i, b := range order {
			reordered[i] = list[slices.Index(all.List(), b)]
		}
		if other := Choose("sh", chooseKey, PackBackends(order...), PackWeights(reordered...)); other.Slots != table.Slots {
			t.Fatal("another order of the backends gives another table")
		}
		if weighted || tableSize(n) != tableSize(n-1) {
			return
		}
		gone := rapid.IntRange(0, n-1).Draw(t, "gone")
		less := Choose("sh", chooseKey, PackBackends(slices.Delete(all.List(), gone, gone+1)...), Weights{})
		moved := 0
		for slot, b := range table.Slots.All() {
			if b != all.At(gone) && less.Slots.At(slot) != b {
				moved++
			}
		}
		if moved > table.Slots.Len()/4 {
			t.Fatalf("one of %d backends goes, and %d of %d slots of others change", n, moved, table.Slots.Len())
		}
	})
}
