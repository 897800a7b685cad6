package lab

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Addresses of the node.
const (
	PodCIDR = "10.244.1.0/24"
	// NodeIP is where machines outside reach the node.
	NodeIP = "192.168.77.1"

	podGateway = "10.244.1.1"
	outsideIP  = "192.168.77.2"
)

// Node is the node that the test runs on.
type Node struct{ host *Host }

// NewNode makes the namespace that the test runs in a node's: it forwards.
func NewNode() (*Node, error) {
	here, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("finding the namespace of the test: %w", err)
	}
	n := &Node{&Host{Name: "node", IP: NodeIP, namespace: here}}
	if err := n.host.open(); err != nil {
		return nil, err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("making the node forward: %w", err)
	}
	return n, nil
}

// AddPod adds a pod with an address of PodCIDR.
func (n *Node) AddPod(name, ip string) (*Host, error) {
	pod, err := newHost(name, ip)
	if err != nil {
		return nil, err
	}
	err = n.connect(pod, name, podGateway+"/32")
	if err == nil {
		err = n.host.route(ip+"/32", "", name)
	}
	if err == nil {
		err = pod.route(podGateway+"/32", "", "eth0")
	}
	if err == nil {
		err = pod.route("0.0.0.0/0", podGateway, "eth0")
	}
	return pod, err
}

// AddOutside adds a machine in the node's network, to which the node sends what it
// has no other way for. The machine has every address of stray, so that it can
// answer packets that should not have left the node.
func (n *Node) AddOutside(stray string) (*Host, error) {
	machine, err := newHost("outside", outsideIP)
	if err != nil {
		return nil, err
	}
	err = n.connect(machine, "uplink", NodeIP+"/32")
	if err == nil {
		err = n.host.route(outsideIP+"/32", "", "uplink")
	}
	if err == nil {
		err = n.host.route("0.0.0.0/0", outsideIP, "uplink")
	}
	if err == nil {
		err = machine.route(NodeIP+"/32", "", "eth0")
	}
	if err == nil {
		err = machine.route("0.0.0.0/0", NodeIP, "eth0")
	}
	if err == nil {
		// Loopback takes the whole network of an address for its own.
		err = machine.configure("lo", stray)
	}
	return machine, err
}

// connect lays a cable from a device of the node to eth0 of a host.
func (n *Node) connect(to *Host, device, address string) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = device
	cable := netlink.NewVeth(attributes)
	cable.PeerName, cable.PeerNamespace = "eth0", netlink.NsFd(int(to.namespace))
	if err := n.host.links.LinkAdd(cable); err != nil {
		return fmt.Errorf("laying a cable to %s: %w", to.Name, err)
	}
	if err := n.host.configure(device, address); err != nil {
		return err
	}
	return to.configure("eth0", to.IP+"/32")
}

func (h *Host) configure(device, address string) error {
	parsed, err := netlink.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	link, err := h.links.LinkByName(device)
	if err == nil {
		err = h.links.AddrAdd(link, parsed)
	}
	if err != nil {
		return fmt.Errorf("adding %s to %s of %s: %w", address, device, h.Name, err)
	}
	return h.up(device)
}

func (h *Host) up(device string) error {
	link, err := h.links.LinkByName(device)
	if err == nil {
		err = h.links.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("switching on %s of %s: %w", device, h.Name, err)
	}
	return nil
}

// route sends a destination out of a device, through a gateway unless that is empty.
func (h *Host) route(destination, gateway, device string) error {
	_, to, err := net.ParseCIDR(destination)
	if err != nil {
		return fmt.Errorf("route to %q: %w", destination, err)
	}
	link, err := h.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s of %s: %w", device, h.Name, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Gw: net.ParseIP(gateway)}
	if gateway == "" {
		route.Scope = netlink.SCOPE_LINK
	}
	if err := h.links.RouteReplace(route); err != nil {
		return fmt.Errorf("routing %s through %s of %s: %w", destination, device, h.Name, err)
	}
	return nil
}
