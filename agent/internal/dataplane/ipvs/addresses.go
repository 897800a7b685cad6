package ipvs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/nodeaddr"
)

// addresses are those of Services of one family on the dummy interface, for which this
// node so takes packets.
type addresses interface {
	// bound returns the addresses that are bound.
	bound() (addrSet, error)
	bind(addr netip.Addr) error
	unbind(addr netip.Addr) error
	// remove removes the interface if no address is left on it.
	remove() error
	close()
}

// dummy is the interface of that name. Both families are on it.
type dummy struct {
	handle *netlink.Handle
	is6    bool
}

// openDummy opens the network namespace of the calling thread.
func openDummy(is6 bool) (*dummy, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	return &dummy{handle: handle, is6: is6}, nil
}

func (d *dummy) family() int {
	if d.is6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// link returns the interface, or nil if it is not there.
func (d *dummy) link() (netlink.Link, error) {
	link, err := d.handle.LinkByName(dataplane.ServiceInterface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for interface %s: %w", dataplane.ServiceInterface, err)
	}
	return link, nil
}

// ensure makes the interface unless it is there. It stays down, as kube-proxy's does: an
// address is local all the same, and nothing is announced on it.
func (d *dummy) ensure() (netlink.Link, error) {
	link, err := d.link()
	if link != nil || err != nil {
		return link, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = dataplane.ServiceInterface
	if err := d.handle.LinkAdd(&netlink.Dummy{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("making interface %s (kernel module dummy): %w", dataplane.ServiceInterface, err)
	}
	return d.link()
}

func (d *dummy) bound() (addrSet, error) {
	list := addrSet{}
	link, err := d.link()
	if link == nil || err != nil {
		return list, err
	}
	found, err := d.read(link, d.family())
	if err != nil {
		return nil, err
	}
	for _, a := range found {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); ok && !addr.IsLinkLocalUnicast() {
			list[addr] = struct{}{}
		}
	}
	return list, nil
}

// read returns the addresses of the interface.
func (d *dummy) read(link netlink.Link, family int) ([]netlink.Addr, error) {
	found, err := nodeaddr.Whole(func() ([]netlink.Addr, error) { return d.handle.AddrList(link, family) })
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of %s: %w", dataplane.ServiceInterface, err)
	}
	return found, nil
}

// bind binds an address to the interface. One that is bound elsewhere on the node need not
// be, but may.
func (d *dummy) bind(addr netip.Addr) error {
	link, err := d.ensure()
	if err != nil {
		return err
	}
	if err := d.handle.AddrReplace(link, host(addr)); err != nil {
		return fmt.Errorf("binding %s to %s: %w", addr, dataplane.ServiceInterface, err)
	}
	return nil
}

func (d *dummy) unbind(addr netip.Addr) error {
	link, err := d.link()
	if link == nil || err != nil {
		return err
	}
	if err := d.handle.AddrDel(link, host(addr)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing %s from %s: %w", addr, dataplane.ServiceInterface, err)
	}
	return nil
}

// host returns an address for this node alone. No other node is asked whether it has an
// IPv6 one: every node has.
func host(addr netip.Addr) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}}
	if addr.Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// remove removes the interface if no address is left on it.
func (d *dummy) remove() error {
	link, err := d.link()
	if link == nil || err != nil {
		return err
	}
	left, err := d.read(link, netlink.FAMILY_ALL)
	if err != nil || len(left) > 0 {
		return err
	}
	if err := d.handle.LinkDel(link); err != nil {
		return fmt.Errorf("removing interface %s: %w", dataplane.ServiceInterface, err)
	}
	return nil
}

func (d *dummy) close() { d.handle.Close() }
