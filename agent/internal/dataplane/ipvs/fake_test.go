package ipvs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// fakeKernel has the kernel's semantics: what is missing or there already is an error, and
// no step touches more than it says.
type fakeKernel struct {
	held map[ruleset.Key]*virtual
	// busy are the destinations with connections.
	busy map[netip.AddrPort]bool
	// missing are schedulers that the kernel does not have.
	missing []string
	steps   []string
	set     timeouts
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{held: map[ruleset.Key]*virtual{}, busy: map[netip.AddrPort]bool{}}
}

func (f *fakeKernel) note(format string, args ...any) {
	f.steps = append(f.steps, fmt.Sprintf(format, args...))
}

func (f *fakeKernel) servers(is6 bool) ([]server, error) {
	var list []server
	for key, v := range f.held {
		if key.Addr.Is6() == is6 {
			list = append(list, v.server)
		}
	}
	return list, nil
}

func (f *fakeKernel) destinations(of ruleset.Key) (map[destination]connections, error) {
	list := map[destination]connections{}
	if v := f.held[of]; v != nil {
		for backend, weight := range v.destinations {
			var c connections
			if f.busy[backend] {
				c.active = 1
			}
			list[destination{backend, weight}] = c
		}
	}
	return list, nil
}

func (f *fakeKernel) run(steps []step) []error {
	results := make([]error, len(steps))
	for i, s := range steps {
		switch s.operation {
		case addServer:
			results[i] = f.addServer(s.server)
		case changeServer:
			results[i] = f.updateServer(s.server)
		case addDestination:
			results[i] = f.addDestination(s.server.Key, s.destination)
		case changeDestination, drainDestination:
			results[i] = f.updateDestination(s.server.Key, s.destination)
		case deleteDestination:
			results[i] = f.deleteDestination(s.server.Key, s.destination.backend)
		default:
			results[i] = f.deleteServer(s.server.Key)
		}
	}
	return results
}

func (f *fakeKernel) addServer(s server) error {
	f.note("add %s %s", s.Key, s.scheduler)
	switch {
	case slices.Contains(f.missing, s.scheduler):
		return unix.ENOENT
	case f.held[s.Key] != nil:
		return unix.EEXIST
	}
	f.held[s.Key] = &virtual{s, map[netip.AddrPort]int{}}
	return nil
}

func (f *fakeKernel) updateServer(s server) error {
	f.note("change %s %s", s.Key, s.scheduler)
	switch {
	case slices.Contains(f.missing, s.scheduler):
		return unix.ENOENT
	case f.held[s.Key] == nil:
		return unix.ESRCH
	}
	f.held[s.Key].server = s
	return nil
}

func (f *fakeKernel) deleteServer(key ruleset.Key) error {
	f.note("delete %s", key)
	if f.held[key] == nil {
		return unix.ESRCH
	}
	delete(f.held, key)
	return nil
}

func (f *fakeKernel) addDestination(of ruleset.Key, d destination) error {
	f.note("add %s > %s %d", of, d.backend, d.weight)
	v := f.held[of]
	if v == nil {
		return unix.ESRCH
	}
	if _, there := v.destinations[d.backend]; there {
		return unix.EEXIST
	}
	v.destinations[d.backend] = d.weight
	return nil
}

func (f *fakeKernel) updateDestination(of ruleset.Key, d destination) error {
	f.note("change %s > %s %d", of, d.backend, d.weight)
	v := f.held[of]
	if v == nil {
		return unix.ESRCH
	}
	if _, there := v.destinations[d.backend]; !there {
		return unix.ENOENT
	}
	v.destinations[d.backend] = d.weight
	return nil
}

func (f *fakeKernel) deleteDestination(of ruleset.Key, backend netip.AddrPort) error {
	f.note("delete %s > %s", of, backend)
	v := f.held[of]
	if v == nil {
		return unix.ESRCH
	}
	if _, there := v.destinations[backend]; !there {
		return unix.ENOENT
	}
	delete(v.destinations, backend)
	return nil
}

func (f *fakeKernel) setTimeouts(t timeouts) error {
	f.set = t
	return nil
}

func (f *fakeKernel) close() {}

// text is what the fake holds, a line for each destination.
func (f *fakeKernel) text() string {
	var lines []string
	for key, v := range f.held {
		lines = append(lines, fmt.Sprintf("%s %s", key, v.scheduler))
		for _, backend := range slices.SortedFunc(maps.Keys(v.destinations), netip.AddrPort.Compare) {
			lines = append(lines, fmt.Sprintf("%s > %s %d", key, backend, v.destinations[backend]))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
