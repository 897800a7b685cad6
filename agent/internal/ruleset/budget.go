package ruleset

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Limits bounds how much of the kernel Services may take, whatever the control
// plane says. They count elements of maps: about one for each backend of each
// frontend, but all slots of a hash table. Zero means no limit.
type Limits struct {
	// Service bounds one Service, Node all of them together.
	Service, Node int
}

// budget is how much is taken.
type budget struct {
	limits Limits
	// taken is the number of elements of all Services.
	taken int
	// excess has the Services that did not fit, and how many elements they asked
	// for. What they had before stays in force.
	excess map[string]int
}

// SetLimits sets the limits of later updates.
func (t *Table) SetLimits(limits Limits) { t.budget.limits = limits }

// Excess yields the Services that are not what they should be because they do not
// fit, each with what is wrong; what they had before stays in force.
func (t *Table) Excess() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, name := range slices.Sorted(maps.Keys(t.budget.excess)) {
			if !yield(name, t.complaint(t.budget.excess[name])) {
				return
			}
		}
	}
}

func (t *Table) complaint(wanted int) string {
	if limit := t.budget.limits.Service; limit > 0 && wanted > limit {
		return fmt.Sprintf("needs %d elements: expected at most %d of one Service", wanted, limit)
	}
	return fmt.Sprintf("needs %d elements, and all Services have %d already: expected at most %d on a node", wanted, t.budget.taken, t.budget.limits.Node)
}

// withExcess yields names and then the Services that did not fit, for which there
// may be room by now. In order, so that it is the same ones that find none.
func (t *Table) withExcess(names iter.Seq[string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range slices.Sorted(names) {
			if !yield(name) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(t.budget.excess)) {
			if !yield(name) {
				return
			}
		}
	}
}

// afford takes what a Service's new rules need instead of its old ones, which may
// be nil. It refuses what is beyond a limit; to need less than before is always in
// order.
func (t *Table) afford(name string, old, next *rules) bool {
	before, after := old.elements(), next.elements()
	limits := t.budget.limits
	beyond := limits.Service > 0 && after > limits.Service || limits.Node > 0 && t.budget.taken-before+after > limits.Node
	if beyond && after > before {
		t.budget.excess[name] = after
		return false
	}
	t.budget.taken += after - before
	delete(t.budget.excess, name)
	return true
}

// perFrontend is about how many elements a frontend takes beside its backends.
const perFrontend = 3

// elements is about how many elements the rules take.
func (r *rules) elements() int {
	if r == nil {
		return 0
	}
	n := len(r.clusterIPs) + len(r.hairpins)
	for _, f := range r.frontends {
		slots := Choose(f.Scheduler, f.Key, f.Backends, f.Weights).Slots.Len() +
			Choose(f.Scheduler, f.Key, f.LocalBackends, f.LocalWeights).Slots.Len()
		n += perFrontend + slots + len(f.Allow)
		if f.Affinity > 0 {
			n += f.Backends.Len() + f.LocalBackends.Len()
		}
	}
	return n
}
