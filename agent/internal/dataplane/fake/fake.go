// Package fake is a data plane of one family in memory, with the kernel's
// atomicity: a call that fails leaves everything as it was.
package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// Plane is a data plane in memory. Its methods beyond dataplane.Dataplane are safe
// for concurrent use.
type Plane struct {
	family    dataplane.Family
	mu        sync.Mutex
	settings  dataplane.Settings
	frontends map[ruleset.Key]*ruleset.Frontend
	exists    bool
	known     bool
	pending   bool
	// seen is set once a Collect has seen all that is pending.
	seen      bool
	disturbed bool
	failure   error
	missing   bool
	warnings  []dataplane.Warning
	calls     Calls
}

// Calls counts what was called, failed calls included.
type Calls struct{ Replace, Apply, Collect int }

var _ dataplane.Dataplane = (*Plane)(nil)

// New returns a data plane that holds nothing.
func New(family dataplane.Family) *Plane {
	return &Plane{family: family, frontends: map[ruleset.Key]*ruleset.Frontend{}}
}

// Miss makes the node one without the family.
func (p *Plane) Miss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missing = true
}

// Family implements dataplane.Dataplane.
func (p *Plane) Family() dataplane.Family { return p.family }

// Supported implements dataplane.Dataplane.
func (p *Plane) Supported() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.missing
}

// owns tells whether a key is of the plane's family.
func (p *Plane) owns(key ruleset.Key) bool { return key.Addr.Is6() == (p.family == dataplane.IPv6) }

// Hold puts a frontend there as an earlier agent would have left it.
func (p *Plane) Hold(f *ruleset.Frontend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exists = true
	p.frontends[f.Key] = f
}

// Warn makes the plane warn.
func (p *Plane) Warn(list ...dataplane.Warning) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warnings = list
}

// Warnings implements dataplane.Dataplane.
func (p *Plane) Warnings() []dataplane.Warning {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.warnings
}

// Fail makes every change fail until it is called with nil.
func (p *Plane) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
}

// Disturb takes away everything, as somebody else would.
func (p *Plane) Disturb() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exists, p.disturbed = false, true
	clear(p.frontends)
}

// Calls returns what was called.
func (p *Plane) Calls() Calls {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// Settings returns those of the last Replace.
func (p *Plane) Settings() dataplane.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Backends returns those of a frontend, and whether it is there.
func (p *Plane) Backends(key ruleset.Key) ([]netip.AddrPort, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.frontends[key]
	if !ok {
		return nil, false
	}
	return f.Backends.List(), true
}

// Exists implements dataplane.Dataplane.
func (p *Plane) Exists(context.Context) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exists, nil
}

// Adopt implements dataplane.Dataplane.
func (p *Plane) Adopt(_ context.Context, settings dataplane.Settings, content dataplane.Content) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := 0
	for f := range content.Frontends() {
		if p.owns(f.Key) {
			if !f.Same(p.frontends[f.Key]) {
				return false
			}
			same++
		}
	}
	if !p.exists || p.disturbed || same != len(p.frontends) {
		return false
	}
	p.settings, p.known = settings, true
	return true
}

// Replace implements dataplane.Dataplane.
func (p *Plane) Replace(_ context.Context, settings dataplane.Settings, content dataplane.Content) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls.Replace++
	if p.known = p.failure == nil; !p.known {
		return p.failure
	}
	p.exists, p.settings, p.pending, p.disturbed = true, settings, false, false
	clear(p.frontends)
	for f := range content.Frontends() {
		if p.owns(f.Key) {
			p.frontends[f.Key] = f
		}
	}
	return nil
}

// Apply implements dataplane.Dataplane. Like the kernel it refuses a change of
// something that is not as the change says.
func (p *Plane) Apply(_ context.Context, changes *ruleset.Changes) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls.Apply++
	if !p.known {
		return errors.New("apply without replace")
	}
	if p.known = p.failure == nil; !p.known {
		return p.failure
	}
	next := maps.Clone(p.frontends)
	for _, c := range changes.Frontends {
		if !p.owns(c.Key()) {
			continue
		}
		if !c.Old.Same(next[c.Key()]) {
			return fmt.Errorf("%v is %v, not %v", c.Key(), next[c.Key()], c.Old)
		}
		if c.New == nil {
			delete(next, c.Key())
			p.pending, p.seen = true, false
			continue
		}
		if c.Old != nil && c.New.Backends.Len() < c.Old.Backends.Len() {
			p.pending, p.seen = true, false
		}
		next[c.Key()] = c.New
	}
	p.frontends = next
	return nil
}

// Pending implements dataplane.Dataplane.
func (p *Plane) Pending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending
}

// Collect implements dataplane.Dataplane.
func (p *Plane) Collect(context.Context) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls.Collect++
	if p.failure != nil {
		p.known = false
		return false, p.failure
	}
	collected := p.pending && p.seen
	p.pending, p.seen = p.pending && !p.seen, true
	return collected, nil
}

// Disturbed implements dataplane.Dataplane.
func (p *Plane) Disturbed(context.Context) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known && p.disturbed {
		p.known = false
		return true, nil
	}
	return false, nil
}

// Compare implements dataplane.Dataplane.
func (p *Plane) Compare(_ context.Context, _ dataplane.Settings, content dataplane.Content) ([]dataplane.Difference, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure != nil {
		return nil, p.failure
	}
	var list []dataplane.Difference
	for f := range content.Frontends() {
		if p.owns(f.Key) && p.frontends[f.Key] == nil {
			list = append(list, dataplane.Difference{Place: "fake", Key: f.Key.String(), Wanted: "a frontend"})
		}
	}
	return list, nil
}

// Lose has a frontend go as if somebody else had removed it, unnoticed.
func (p *Plane) Lose(key ruleset.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.frontends, key)
}

// Cleanup implements dataplane.Dataplane.
func (p *Plane) Cleanup(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure != nil {
		return p.failure
	}
	p.exists, p.known = false, false
	clear(p.frontends)
	return nil
}

// Close implements dataplane.Dataplane.
func (p *Plane) Close() error { return nil }
