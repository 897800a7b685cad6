package nftables

import (
	"context"
	"errors"
	"net/netip"

	"github.com/google/nftables"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// Apply makes a change to what the last Replace and Applys left, in one
// transaction. After an error only Replace helps.
func (p *Plane) Apply(_ context.Context, changes *ruleset.Changes) error {
	if !p.known {
		return errors.New("the kernel's content is not known: expected a Replace first")
	}
	if p.loaded == nil {
		return nil
	}
	b := newBatch(p.family)
	b.beside = p.loaded.beside
	for _, change := range changes.Frontends {
		if change.Key().Addr.Is6() == p.family.is6 {
			b.change(change, p.loaded.spare)
			p.approximations.note(change.Key(), change.New)
		}
	}
	b.members(changes, p.family.is6)
	err := p.addExtras(p.loaded, b.chains)
	if err == nil {
		p.rememberExtras() // Or a look during the next transaction would take them for others'.
		err = p.transact("changing the nftables rules", func(tx *transaction) error { return p.queueChange(tx, b, changes) })
	}
	if err == nil {
		p.loaded.extras.follow(b.left, b.chains)
	}
	return err
}

// addExtras adds the chains of the names that are missing, in a transaction before the one
// that has elements go to them: a packet that is under way during the transaction which
// adds a chain finds it empty (nf_tables_addchain: only the next generation gets rules).
func (p *Plane) addExtras(l *loaded, names map[string]struct{}) error {
	missing := l.extras.missing(names)
	if len(missing) == 0 {
		return nil
	}
	return p.transact("adding chains to the nftables rules", func(tx *transaction) error { return l.extras.queue(tx, missing) })
}

// rememberExtras takes note of chains that were added or deleted.
func (p *Plane) rememberExtras() {
	if p.loaded.extras.changed {
		p.loaded.extras.changed = false
		p.remember()
	}
}

// queueChange queues a batch and, with it, what it makes of remembered clients.
func (p *Plane) queueChange(tx *transaction, b *batch, changes *ruleset.Changes) error {
	if err := p.loaded.queue(tx, b); err != nil {
		return err
	}
	return p.queueForgotten(tx, p.loaded.forgotten(changes.Frontends))
}

// members adds the changes of the sets that do not belong to one frontend.
func (b *batch) members(changes *ruleset.Changes, is6 bool) {
	address := func(do func(element), set string, list []netip.Addr) {
		for _, addr := range list {
			if addr.Is6() == is6 {
				do(element{set: set, key: string(addr.AsSlice())})
			}
		}
	}
	endpoint := func(do func(element), list []ruleset.Hairpin) {
		for _, h := range list {
			if h.Endpoint.Addr().Is6() == is6 {
				do(element{set: hairpin, key: hairpinKey(h)})
			}
		}
	}
	address(b.delete, clusterIPs, changes.RemovedClusterIPs)
	address(b.add, clusterIPs, changes.AddedClusterIPs)
	endpoint(b.delete, changes.RemovedHairpins)
	endpoint(b.add, changes.AddedHairpins)
	if !b.beside {
		return
	}
	address(b.delete, outsideIPs, changes.RemovedOutsideIPs)
	address(b.add, outsideIPs, changes.AddedOutsideIPs)
	for _, port := range changes.RemovedCheckPorts {
		b.delete(element{set: checkPorts, key: portKey(port)})
	}
	for _, port := range changes.AddedCheckPorts {
		b.add(element{set: checkPorts, key: portKey(port)})
	}
}

// Pending tells whether there is something left for packets in flight.
func (p *Plane) Pending() bool { return p.known && p.loaded != nil && p.loaded.leftovers() }

func (l *loaded) leftovers() bool { return len(l.spare)+len(l.extras.unused)+len(l.retired) > 0 }

// Collect removes what was left for packets in flight at the Collect before: spare slots,
// chains that nothing goes to, the content of maps that no rule looks into. Leave so
// much time between two that no packet can be under way any more that was looked
// up before the first: a second is ample. Changes in between do not matter, so
// that it also happens under changes without end.
func (p *Plane) Collect(context.Context) (bool, error) {
	if !p.Pending() {
		return false, nil
	}
	l, removed := p.loaded, false
	var emptied []string
	err := p.transact("removing what was left for packets in flight", func(tx *transaction) error {
		for set, old := range l.retired {
			if l.retired[set] = true; old {
				tx.library().FlushSet(l.sets[set])
				emptied, removed = append(emptied, set), true
			}
		}
		for chain, old := range l.extras.unused {
			if l.extras.unused[chain] = true; old {
				tx.library().DelChain(&nftables.Chain{Name: chain, Table: l.family.table()})
				delete(l.extras.unused, chain)
				delete(l.extras.there, chain)
				l.extras.changed, removed = true, true
			}
		}
		b := newBatch(p.family)
		for id, left := range l.spare {
			if left.old {
				b.delete(left.element)
				delete(l.spare, id)
				removed = true
				continue
			}
			left.old = true
			l.spare[id] = left
		}
		return l.queue(tx, b)
	})
	if err == nil {
		for _, set := range emptied { // Until then nobody counts what is in them.
			l.counts[set] = 0
			delete(l.retired, set)
		}
		p.rememberExtras()
	}
	return removed && err == nil, err
}
