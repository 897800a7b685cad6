// Package nodeaddr knows the addresses of the node: which there are, when they
// change, and on which of them node ports answer.
package nodeaddr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// List returns the node's addresses, ordered, without loopback ones and those of one
// interface, which need not be there.
func List(but string) ([]netip.Addr, error) {
	found, err := Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("listing the node's addresses: %w", err)
	}
	except := 0
	if link, err := netlink.LinkByName(but); err == nil {
		except = link.Attrs().Index
	}
	var list []netip.Addr
	for _, a := range found {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); ok && !addr.IsLoopback() && a.LinkIndex != except {
			list = append(list, addr)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list), nil
}

// Whole asks for a list of addresses again if any changed meanwhile: the kernel says so, and
// that the list may lack some.
func Whole(list func() ([]netlink.Addr, error)) (found []netlink.Addr, err error) {
	const tries = 10
	for range tries {
		if found, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return found, err
}

// subscribeAgain is how long to wait before the kernel is listened to again.
const subscribeAgain = time.Second

// Watch returns a channel that receives a value after addresses have changed, at
// most one for any number of changes. It is closed when the context ends.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	return watch(ctx, netlink.AddrSubscribe)
}

// watch subscribes again when a subscription ends, as it does when there were more
// changes at a time than the kernel keeps for us.
func watch(ctx context.Context, subscribe func(chan<- netlink.AddrUpdate, <-chan struct{}) error) (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	// follow returns when the subscription has ended.
	follow := func(updates <-chan netlink.AddrUpdate, cancel context.CancelFunc) {
		defer cancel()
		for range updates {
			notify()
		}
	}
	begin := func() (<-chan netlink.AddrUpdate, context.CancelFunc, error) {
		subscription, cancel := context.WithCancel(ctx)
		updates := make(chan netlink.AddrUpdate)
		if err := subscribe(updates, subscription.Done()); err != nil {
			cancel()
			return nil, nil, fmt.Errorf("listening to changes of the node's addresses: %w", err)
		}
		return updates, cancel, nil
	}
	updates, cancel, err := begin()
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(changed)
		follow(updates, cancel)
		for sleep(ctx, subscribeAgain) {
			if updates, cancel, err := begin(); err == nil {
				notify() // Of what was missed.
				follow(updates, cancel)
			}
		}
	}()
	return changed, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
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
