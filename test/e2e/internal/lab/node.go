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

	// Hub is where nodes apart reach the namespace that the test runs in.
	Hub = "192.168.78.1"

	podGateway = "10.244.1.1"
	outsideIP  = "192.168.77.2"
)

// Node is a node of the cluster: a host that forwards what its pods send.
type Node struct{ host *Host }

// NewNode makes the namespace that the test runs in a node's.
func NewNode() (*Node, error) {
	n, err := here()
	if err != nil {
		return nil, err
	}
	return n, n.host.forward()
}

// NewNodeApart makes a node with a namespace of its own, so that several data planes
// can be compared. Its pods are alone with it: two such nodes may have pods with the
// same addresses. The nodes' own addresses must differ.
func NewNodeApart(name, ip string) (*Node, error) {
	hub, err := here()
	if err != nil {
		return nil, err
	}
	host, err := newHost(name, ip)
	if err != nil {
		return nil, err
	}
	err = hub.connect(host, name, Hub+"/32")
	if err == nil {
		err = hub.host.route(ip+"/32", "", name)
	}
	if err == nil {
		err = host.route(Hub+"/32", "", "eth0")
	}
	if err == nil {
		err = host.forward()
	}
	return &Node{host}, err
}

// here is the namespace that the test runs in.
func here() (*Node, error) {
	namespace, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("finding the namespace of the test: %w", err)
	}
	n := &Node{&Host{Name: "node", IP: NodeIP, namespace: namespace}}
	return n, n.host.open()
}

// Host returns the node as something that programs run on.
func (n *Node) Host() *Host { return n.host }

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

func (h *Host) forward() error {
	return h.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return fmt.Errorf("making %s forward: %w", h.Name, err)
		}
		return nil
	})
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
