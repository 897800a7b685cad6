package ipvs

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// virtual is a virtual server and its destinations' weights.
type virtual struct {
	server
	destinations map[netip.AddrPort]int
}

// operation is what a step does. They are in the order in which steps of different servers
// are made: what serves more comes before what serves less.
type operation uint8

const (
	addServer operation = iota
	changeServer
	addDestination
	changeDestination
	drainDestination
	deleteDestination
	deleteServer
)

// step is one thing that the kernel is told.
type step struct {
	operation
	server      server
	destination destination
}

// String describes the step in a line.
func (s step) String() string {
	switch s.operation {
	case addServer:
		return fmt.Sprintf("add %s %s", s.server.Key, s.server.scheduler)
	case changeServer:
		return fmt.Sprintf("change %s to %s", s.server.Key, s.server.scheduler)
	case addDestination:
		return fmt.Sprintf("add %s > %s weight %d", s.server.Key, s.destination.backend, s.destination.weight)
	case changeDestination:
		return fmt.Sprintf("change %s > %s to weight %d", s.server.Key, s.destination.backend, s.destination.weight)
	case drainDestination:
		return fmt.Sprintf("drain %s > %s", s.server.Key, s.destination.backend)
	case deleteDestination:
		return fmt.Sprintf("delete %s > %s", s.server.Key, s.destination.backend)
	default:
		return fmt.Sprintf("delete %s", s.server.Key)
	}
}

// plan returns the steps that make what the kernel holds for a key what is wanted. Either
// may be nil. A destination that is no longer wanted is drained if it has connections to
// lose, else deleted; a server goes with its last destination.
func plan(have, want *virtual, busyOf func(ruleset.Key) map[netip.AddrPort]bool) []step {
	var steps []step
	add := func(o operation, s server, d destination) { steps = append(steps, step{o, s, d}) }
	if want != nil {
		switch {
		case have == nil:
			add(addServer, want.server, destination{})
		case have.server != want.server:
			add(changeServer, want.server, destination{})
		}
		for _, backend := range sorted(want.destinations) {
			d := destination{backend, want.destinations[backend]}
			weight, there := have.weight(backend)
			switch {
			case !there:
				add(addDestination, want.server, d)
			case weight != d.weight:
				add(changeDestination, want.server, d)
			}
		}
	}
	if have == nil {
		return steps
	}
	var busy map[netip.AddrPort]bool // Most changes take nothing away: then nobody is asked.
	draining := false
	for _, backend := range sorted(have.destinations) {
		if _, wanted := want.weight(backend); wanted {
			continue
		}
		if busy == nil {
			busy = busyOf(have.Key)
		}
		switch {
		case !busy[backend]:
			// A server that goes takes them along.
			add(deleteDestination, have.server, destination{backend: backend})
		case have.destinations[backend] != 0:
			add(drainDestination, have.server, destination{backend: backend})
			draining = true
		default:
			draining = true
		}
	}
	if want == nil && !draining {
		steps = slices.DeleteFunc(steps, func(s step) bool { return s.operation == deleteDestination })
		add(deleteServer, have.server, destination{})
	}
	return steps
}

func (v *virtual) weight(backend netip.AddrPort) (weight int, there bool) {
	if v == nil {
		return 0, false
	}
	weight, there = v.destinations[backend]
	return weight, there
}

func sorted(destinations map[netip.AddrPort]int) []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(destinations), netip.AddrPort.Compare)
}

// inOrder orders the steps of many servers.
func inOrder(steps []step) []step {
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.operation, b.operation) })
	return steps
}
