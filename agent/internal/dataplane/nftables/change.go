package nftables

import (
	"context"
	"errors"
	"net/netip"

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
	chains := p.loaded.chains()
	err := p.change(changes)
	if err == nil && p.loaded.chains() != chains {
		p.remember()
	}
	return err
}

// chains counts those that exist beyond the skeleton.
func (l *loaded) chains() int { return len(l.picks) + len(l.localPicks) + len(l.affinities) }

func (p *Plane) change(changes *ruleset.Changes) error {
	return p.transact("changing the nftables rules", func(tx *transaction) error {
		b := newBatch(p.family)
		b.beside = p.loaded.beside
		for _, change := range changes.Frontends {
			if change.Key().Addr.Is6() == p.family.is6 {
				b.change(change, p.loaded.spare)
			}
		}
		b.members(changes, p.family.is6)
		return p.queueChange(tx, b, changes)
	})
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

// Pending tells whether there are spare slots.
func (p *Plane) Pending() bool { return p.known && p.loaded != nil && len(p.loaded.spare) > 0 }

// Collect removes the spare slots that were there at the Collect before. Leave so
// much time between two that no packet can be under way any more that was looked
// up before the first: a second is ample. Changes in between do not matter, so
// that slots are also collected under changes without end.
func (p *Plane) Collect(context.Context) (bool, error) {
	if !p.Pending() {
		return false, nil
	}
	removed := false
	err := p.transact("removing spare slots", func(tx *transaction) error {
		b := newBatch(p.family)
		for id, left := range p.loaded.spare {
			if left.old {
				b.delete(left.element)
				delete(p.loaded.spare, id)
				removed = true
				continue
			}
			left.old = true
			p.loaded.spare[id] = left
		}
		return p.loaded.queue(tx, b)
	})
	return removed && err == nil, err
}
