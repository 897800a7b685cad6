package netlab

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a cable.
type End struct {
	In     *Namespace
	Device string
	// Addresses of the device, with prefix length.
	Addresses []string
}

// Connect lays a cable between two namespaces.
func Connect(a, b End) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = a.Device
	cable := netlink.NewVeth(attributes)
	cable.PeerName, cable.PeerNamespace = b.Device, netlink.NsFd(int(b.In.handle))
	if err := a.In.links.LinkAdd(cable); err != nil {
		return fmt.Errorf("laying a cable from %s to %s: %w", a.In.Name, b.In.Name, err)
	}
	for _, end := range []End{a, b} {
		if err := end.In.up(end.Device); err != nil {
			return err
		}
		for _, address := range end.Addresses {
			if err := end.In.address(end.Device, address); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Namespace) up(device string) error {
	link, err := n.links.LinkByName(device)
	if err == nil {
		err = n.links.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("switching on %s in %s: %w", device, n.Name, err)
	}
	return nil
}

func (n *Namespace) address(device, cidr string) error {
	link, err := n.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s in %s: %w", device, n.Name, err)
	}
	address, err := netlink.ParseAddr(cidr)
	if err != nil {
		return fmt.Errorf("address %q: %w", cidr, err)
	}
	// Nobody else can have an IPv6 address here, so it need not wait to find out.
	address.Flags |= unix.IFA_F_NODAD
	if err := n.links.AddrAdd(link, address); err != nil {
		return fmt.Errorf("adding %s to %s in %s: %w", cidr, device, n.Name, err)
	}
	return nil
}

// Destinations of a route for everything else.
const (
	Default4 = "0.0.0.0/0"
	Default6 = "::/0"
)

// Route sends a destination out of a device, through a gateway unless that is empty.
func (n *Namespace) Route(destination, gateway, device string) error {
	link, err := n.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s in %s: %w", device, n.Name, err)
	}
	_, to, err := net.ParseCIDR(destination)
	if err != nil {
		return fmt.Errorf("route to %q: %w", destination, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: to}
	if gateway == "" {
		route.Scope = netlink.SCOPE_LINK
	} else {
		route.Gw = net.ParseIP(gateway)
	}
	if err := n.links.RouteReplace(route); err != nil {
		return fmt.Errorf("routing %s through %q in %s: %w", destination, gateway, n.Name, err)
	}
	return nil
}
