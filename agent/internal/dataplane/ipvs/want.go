package ipvs

import (
	"iter"
	"net/netip"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/api/resource"
)

// defaultScheduler is kube-proxy's.
const defaultScheduler = "rr"

// portScheduler is the scheduler whose choice depends on the client's port too, as
// kube-proxy has it.
const portScheduler = "mh"

// want returns the virtual server of a frontend, or nil if it has no backend to send to. A
// virtual server has one list of destinations for all its clients: of a frontend with
// external policy Local those on this node, for pods too, as long as there are any.
func want(f *ruleset.Frontend, scheduler string) *virtual {
	if f == nil {
		return nil
	}
	backends, weights := f.Backends, f.Weights
	if f.Local && f.LocalBackends.Len() > 0 {
		backends, weights = f.LocalBackends, f.LocalWeights
	}
	if backends.Len() == 0 {
		return nil
	}
	v := &virtual{
		server:       server{Key: f.Key, scheduler: scheduler, persistence: f.Affinity},
		destinations: make(map[netip.AddrPort]int, backends.Len()),
	}
	if v.persistence > 0 {
		v.flags |= flagPersistent
	}
	if scheduler == portScheduler {
		v.flags |= flagScheduler2
	}
	for slot, backend := range backends.All() {
		v.destinations[backend] = weights.At(slot)
	}
	return v
}

// isBound tells whether a frontend's address has to be bound to the node.
func isBound(f *ruleset.Frontend) bool { return f != nil && f.Kind != resource.NodePort }

// stripped is what nftables is to do of a frontend beside IPVS.
func stripped(f *ruleset.Frontend) *ruleset.Frontend {
	if f == nil {
		return nil
	}
	s := *f
	s.Elsewhere = want(f, defaultScheduler) != nil
	s.Backends, s.LocalBackends = ruleset.Backends{}, ruleset.Backends{}
	s.Weights, s.LocalWeights = ruleset.Weights{}, ruleset.Weights{}
	s.Affinity, s.Scheduler = 0, ""
	return &s
}

// addrSet is a set of addresses.
type addrSet map[netip.Addr]struct{}

func setOf(list []netip.Addr) addrSet {
	set := make(addrSet, len(list))
	for _, addr := range list {
		set[addr] = struct{}{}
	}
	return set
}

func (s addrSet) has(addr netip.Addr) bool {
	_, has := s[addr]
	return has
}

// without returns the addresses of a list that are not in the set.
func (s addrSet) without(list []netip.Addr) []netip.Addr {
	var rest []netip.Addr
	for _, addr := range list {
		if !s.has(addr) {
			rest = append(rest, addr)
		}
	}
	return rest
}

// beside is the content of which nftables does what IPVS does not.
type beside struct {
	dataplane.Content
	// own are the node's own addresses.
	own addrSet
}

// Frontends implements dataplane.Content.
func (b beside) Frontends() iter.Seq[*ruleset.Frontend] {
	return func(yield func(*ruleset.Frontend) bool) {
		for f := range b.Content.Frontends() {
			if !yield(stripped(f)) {
				return
			}
		}
	}
}

// OutsideIPs implements dataplane.Content. An address that is the node's own has ports of
// the node's own.
func (b beside) OutsideIPs() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for addr := range b.Content.OutsideIPs() {
			if !b.own.has(addr) && !yield(addr) {
				return
			}
		}
	}
}

// besideChanges is beside for changes. Most leave nothing for nftables to do.
func besideChanges(changes *ruleset.Changes, own addrSet) *ruleset.Changes {
	rest := *changes
	rest.AddedOutsideIPs, rest.RemovedOutsideIPs = own.without(changes.AddedOutsideIPs), own.without(changes.RemovedOutsideIPs)
	rest.Frontends = nil
	for _, c := range changes.Frontends {
		if old, next := stripped(c.Old), stripped(c.New); !old.Same(next) {
			rest.Frontends = append(rest.Frontends, ruleset.Change{Old: old, New: next})
		}
	}
	return &rest
}
