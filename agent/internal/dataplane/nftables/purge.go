package nftables

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// A client that is remembered with an endpoint that has gone would have its next
// packet dropped by guard. So that it does not, the memory is purged in the
// transaction that takes the endpoint away; guard remains for clients that were
// remembered in between.

// memories are the maps of what is remembered, each with the set of what may be.
var memories = map[string]string{affinity: affinityEndpoints, localAffinity: localAffinityEndpoints}

// forgotten is what a change takes from a family's memories: by memory and frontend,
// the backends whose clients are forgotten.
type forgotten map[string]map[string][]string

// forget takes the clients of the backends that are left out of a list.
func (lost forgotten) forget(memory string, k ruleset.Key, old, next []netip.AddrPort) {
	key := frontendKey(k)
	for _, backend := range old {
		if slices.Contains(next, backend) {
			continue
		}
		if lost[memory] == nil {
			lost[memory] = map[string][]string{}
		}
		lost[memory][key] = append(lost[memory][key], backendValue(backend))
	}
}

func (l *loaded) forgotten(changes []ruleset.Change) forgotten {
	lost := forgotten{}
	for _, c := range changes {
		if c.Old == nil || c.Old.Affinity == 0 || c.Key().Addr.Is6() != l.family.is6 {
			continue
		}
		next := orEmpty(c.New)
		if next.Affinity == 0 {
			next = &ruleset.Frontend{}
		}
		lost.forget(affinity, c.Key(), slices.Concat(c.Old.Backends.List(), c.Old.LocalBackends.List()), slices.Concat(next.Backends.List(), next.LocalBackends.List()))
		lost.forget(localAffinity, c.Key(), c.Old.LocalBackends.List(), next.LocalBackends.List())
	}
	return lost
}

// queueForgotten queues the removal of clients that a change takes away.
func (p *Plane) queueForgotten(tx *transaction, lost forgotten) error {
	for memory, frontends := range lost {
		if err := p.queueForget(tx, p.loaded, memory, func(frontend, backend string) bool {
			return slices.Contains(frontends[frontend], backend)
		}); err != nil {
			return err
		}
	}
	return nil
}

// queueForgetAllBut queues the removal of clients that remember a backend which a
// new content does not let them stick to.
func (p *Plane) queueForgetAllBut(tx *transaction, l *loaded, content *batch) error {
	for memory, allowed := range memories {
		valid := content.sticky[allowed]
		if err := p.queueForget(tx, l, memory, func(frontend, backend string) bool {
			_, ok := valid[frontend+backend]
			return !ok
		}); err != nil {
			return err
		}
	}
	return nil
}

// queueForget queues the removal of the clients for whose frontend and backend
// gone holds.
func (p *Plane) queueForget(tx *transaction, l *loaded, memory string, gone func(frontend, backend string) bool) error {
	if !p.destroys {
		return nil
	}
	members, err := p.conn.GetSetElements(l.sets[memory])
	if err != nil {
		return fmt.Errorf("listing remembered clients: %w", explain(err))
	}
	list := &elementList{message: nftMsgDestroySetElem, family: l.family, set: l.family.specs[memory]}
	for _, member := range members {
		frontend := member.Key[:min(len(member.Key), l.family.frontendLen())]
		if gone(string(frontend), string(member.Val)) {
			list.add(element{set: memory, key: string(member.Key)})
		}
	}
	if list.len == 0 {
		return nil
	}
	return tx.elements(list)
}

// canDestroy tells whether the kernel can delete elements that may be missing
// (NFT_MSG_DESTROYSETELEM, Linux 6.3). A remembered client can time out at any
// moment, and to delete a missing element fails the whole transaction.
func canDestroy() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 3
}
