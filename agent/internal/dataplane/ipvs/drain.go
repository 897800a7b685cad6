package ipvs

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// bindings are the addresses that must be bound and need not be any more.
type bindings struct {
	bind, unbind []netip.Addr
}

func (b bindings) none() bool { return len(b.bind)+len(b.unbind) == 0 }

// bindings compares the bound addresses with those that frontends have. An address stays
// while connections to it drain.
func (p *Plane) bindings() bindings {
	var b bindings
	for addr := range p.uses {
		if !p.bound.has(addr) && !p.own.has(addr) {
			b.bind = append(b.bind, addr)
		}
	}
	for addr := range p.bound {
		if p.uses[addr] == 0 || p.own.has(addr) {
			b.unbind = append(b.unbind, addr)
		}
	}
	return b
}

func (p *Plane) bind(list []netip.Addr) error {
	var errs []error
	for _, addr := range list {
		if err := p.addresses.bind(addr); err != nil {
			errs = append(errs, err)
			continue
		}
		p.bound[addr] = struct{}{}
	}
	return errors.Join(errs...)
}

// unbind removes addresses, but for those to which connections drain.
func (p *Plane) unbind(list []netip.Addr) error {
	draining := addrSet{}
	for key := range p.drains {
		draining[key.Addr] = struct{}{}
	}
	var errs []error
	for _, addr := range list {
		if draining.has(addr) {
			continue
		}
		if err := p.addresses.unbind(addr); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(p.bound, addr)
	}
	return errors.Join(errs...)
}

// retire ends IPVS's part after nftables has taken over: its connections drain.
func (p *Plane) retire() error {
	bound, err := p.addresses.bound()
	if err != nil || len(bound) == 0 && len(p.drains) == 0 {
		p.active = false
		return err
	}
	if err := p.ensureOpen(); err != nil {
		return err
	}
	p.forget()
	if err := p.read(); err != nil {
		return err
	}
	p.noteDrains()
	var steps []step
	for _, have := range p.held {
		steps = append(steps, plan(have, nil, p.busy)...)
	}
	err = errors.Join(p.run(inOrder(steps)), p.unbind(p.bindings().unbind))
	p.active, p.known = false, err == nil
	if err == nil && len(p.drains) == 0 {
		err = p.addresses.remove()
	}
	return err
}

// Pending implements dataplane.Dataplane.
func (p *Plane) Pending() bool { return p.nftables.Pending() || len(p.drains) > 0 }

// Collect implements dataplane.Dataplane. It removes what has drained, too.
func (p *Plane) Collect(ctx context.Context) (bool, error) {
	removed, err := p.nftables.Collect(ctx)
	if err != nil || len(p.drains) == 0 {
		return removed, err
	}
	var steps []step
	for key, since := range p.drains {
		steps = append(steps, p.drained(key, since)...)
	}
	if len(steps) == 0 {
		return removed, nil
	}
	if err := p.run(inOrder(steps)); err != nil {
		return removed, err
	}
	err = p.unbind(p.bindings().unbind)
	if err == nil && !p.active && len(p.drains) == 0 {
		err = p.addresses.remove()
	}
	return true, err
}

// drained returns the steps that delete what has no connections any more, or has had them
// for too long.
func (p *Plane) drained(key ruleset.Key, since map[netip.AddrPort]time.Time) []step {
	have := p.held[key]
	if have == nil {
		return nil
	}
	busy := p.busy(key)
	var steps []step
	for backend, begun := range since {
		if p.now().Sub(begun) >= drainLimit || !busy[backend] {
			steps = append(steps, step{deleteDestination, have.server, destination{backend: backend}})
		}
	}
	if p.want(p.frontends[key]) == nil && len(steps) == len(have.destinations) {
		return []step{{deleteServer, have.server, destination{}}}
	}
	return steps
}

// drain notes that a destination drains, since now unless it did before.
func (p *Plane) drain(key ruleset.Key, backend netip.AddrPort) {
	if p.drains[key] == nil {
		p.drains[key] = map[netip.AddrPort]time.Time{}
	}
	if _, already := p.drains[key][backend]; !already {
		p.drains[key][backend] = p.now()
	}
}

// noteDrains finds what drains among what was read: what is not wanted and was left there
// with weight 0, by this agent or by one before it.
func (p *Plane) noteDrains() {
	before := p.drains
	p.drains = map[ruleset.Key]map[netip.AddrPort]time.Time{}
	for key, have := range p.held {
		wanted := p.want(p.frontends[key])
		for backend, weight := range have.destinations {
			if _, is := wanted.weight(backend); is || weight != 0 {
				continue
			}
			p.drain(key, backend)
			if begun, already := before[key][backend]; already {
				p.drains[key][backend] = begun
			}
		}
	}
}
