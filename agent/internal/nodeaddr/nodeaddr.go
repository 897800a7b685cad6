// Package nodeaddr knows the addresses of the node: which there are, when they
// change, and on which of them node ports answer.
package nodeaddr

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// List returns the node's addresses, ordered, without loopback ones.
func List() ([]netip.Addr, error) {
	found, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("listing the node's addresses: %w", err)
	}
	var list []netip.Addr
	for _, a := range found {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); ok && !addr.IsLoopback() {
			list = append(list, addr)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list), nil
}

// Watch returns a channel that receives a value after addresses have changed, at
// most one for any number of changes. It is closed when the context ends or the
// kernel cannot be listened to any more.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	updates := make(chan netlink.AddrUpdate)
	if err := netlink.AddrSubscribe(updates, ctx.Done()); err != nil {
		return nil, fmt.Errorf("listening to changes of the node's addresses: %w", err)
	}
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		for range updates {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}

// ForNodePorts returns the addresses, of those given, on which node ports answer:
// those in one of the CIDRs of their family; all of a family that has no CIDR.
// Loopback addresses never answer.
func ForNodePorts(addresses []netip.Addr, cidrs []netip.Prefix) []netip.Addr {
	var list []netip.Addr
	for _, addr := range addresses {
		if !addr.IsLoopback() && accepted(addr, cidrs) {
			list = append(list, addr)
		}
	}
	return list
}

// ForListening returns where a server that answers on the addresses of node ports
// must listen: the unspecified address of a family whose addresses all answer.
func ForListening(addresses []netip.Addr, cidrs []netip.Prefix) []netip.Addr {
	var list []netip.Addr
	for _, wildcard := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		restricted := slices.ContainsFunc(cidrs, func(p netip.Prefix) bool { return p.Addr().Is6() == wildcard.Is6() && p.Bits() > 0 })
		if !restricted {
			list = append(list, wildcard)
			continue
		}
		for _, addr := range ForNodePorts(addresses, cidrs) {
			if addr.Is6() == wildcard.Is6() {
				list = append(list, addr)
			}
		}
	}
	return list
}

func accepted(addr netip.Addr, cidrs []netip.Prefix) bool {
	any := true
	for _, cidr := range cidrs {
		if cidr.Addr().Is6() != addr.Is6() {
			continue
		}
		if cidr.Contains(addr) {
			return true
		}
		any = false
	}
	return any
}
