package nftables

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// A client that is remembered with an endpoint that has gone would have its next
// packet dropped by guard. So that it does not, the memory is purged in the
// transaction that takes the endpoint away; guard remains for clients that were
// remembered in between.

// forgotten is what a change takes from a family's affinity: keys are frontends;
// nil means all of a frontend's clients, else those of the backends named.
type forgotten map[string][]string

func (l *loaded) forgotten(changes []ruleset.Change) forgotten {
	lost := forgotten{}
	for _, c := range changes {
		if c.Old == nil || c.Old.Affinity == 0 || c.Key().Addr.Is6() != l.family.is6 {
			continue
		}
		if c.New == nil || c.New.Affinity == 0 {
			lost[frontendKey(c.Key())] = nil
			continue
		}
		for _, backends := range [][]netip.AddrPort{c.Old.Backends, c.Old.LocalBackends} {
			for _, backend := range backends {
				if !slices.Contains(c.New.Backends, backend) && !slices.Contains(c.New.LocalBackends, backend) {
					key := frontendKey(c.Key())
					lost[key] = append(lost[key], backendValue(backend))
				}
			}
		}
	}
	return lost
}

// queueForgotten queues the removal of clients that a change takes away.
func (p *Plane) queueForgotten(l *loaded, lost forgotten) error {
	if len(lost) == 0 {
		return nil
	}
	return p.queueForget(l, func(frontend, backend string) bool {
		backends, ok := lost[frontend]
		return ok && (backends == nil || slices.Contains(backends, backend))
	})
}

// queueForgetAllBut queues the removal of clients that remember a backend which a
// new content does not let them stick to.
func (p *Plane) queueForgetAllBut(l *loaded, content *batch) error {
	valid := make(map[string]struct{}, len(content.added[affinityEndpoints]))
	for _, e := range content.added[affinityEndpoints] {
		valid[e.key] = struct{}{}
	}
	return p.queueForget(l, func(frontend, backend string) bool {
		_, ok := valid[frontend+backend]
		return !ok
	})
}

// queueForget queues the removal of the clients for whose frontend and backend
// gone holds.
func (p *Plane) queueForget(l *loaded, gone func(frontend, backend string) bool) error {
	if !p.destroys {
		return nil
	}
	members, err := p.conn.GetSetElements(l.sets[affinity])
	if err != nil {
		return fmt.Errorf("listing remembered clients: %w", explain(err))
	}
	var list []nftables.SetElement
	for _, member := range members {
		frontend := member.Key[:min(len(member.Key), l.family.frontendLen())]
		if gone(string(frontend), string(member.Val)) {
			list = append(list, nftables.SetElement{Key: member.Key})
		}
	}
	return p.conn.SetDestroyElements(l.sets[affinity], list)
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
