package lab

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace. It lives as long as the process.
type Namespace struct {
	Name   string
	handle netns.NsHandle
	links  *netlink.Handle
}

func newNamespace(name string) (*Namespace, error) {
	n := &Namespace{Name: name}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends in its namespace.
		var err error
		n.handle, err = netns.New()
		made <- err
	}()
	err := <-made
	if err == nil {
		n.links, err = netlink.NewHandleAt(n.handle)
	}
	if err != nil {
		return nil, fmt.Errorf("making the network namespace %s: %w", name, err)
	}
	// Or an IPv6 address waits a second for somebody to object to it.
	_ = n.sysctl("ipv6/conf/all/accept_dad", "0")
	_ = n.sysctl("ipv6/conf/default/accept_dad", "0")
	for _, which := range []string{"all", "default"} {
		if err := n.sysctl("ipv4/conf/"+which+"/rp_filter", "0"); err != nil {
			return nil, err
		}
	}
	return n, n.up("lo")
}

// Do runs f on a thread in the namespace. Sockets that it opens stay there.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked, as above.
		if err := netns.Set(n.handle); err != nil {
			done <- fmt.Errorf("entering the network namespace %s: %w", n.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Run runs a program in the namespace and returns what it printed.
func (n *Namespace) Run(stdin, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	err := n.Do(func() error {
		command := exec.Command(program, args...)
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
		return command.Run()
	})
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String() + stderr.String(), nil
}

func (n *Namespace) sysctl(name, value string) error {
	return n.Do(func() error {
		path := "/proc/sys/net/" + name
		if now, err := os.ReadFile(path); err == nil && string(now) == value+"\n" {
			return nil // Containers may have /proc/sys read-only.
		}
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("setting %s in %s: %w", path, n.Name, err)
		}
		return nil
	})
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

// bridge makes a bridge.
func (n *Namespace) bridge(name string) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	if err := n.links.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		return fmt.Errorf("making the bridge %s in %s: %w", name, n.Name, err)
	}
	return n.up(name)
}

// plug connects a namespace's device to a port of a bridge here. A hairpin port sends
// frames back out of where they came from.
func (n *Namespace) plug(bridge, port string, other *Namespace, device string, hairpin bool) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = port
	cable := netlink.NewVeth(attributes)
	cable.PeerName, cable.PeerNamespace = device, netlink.NsFd(int(other.handle))
	if err := n.links.LinkAdd(cable); err != nil {
		return fmt.Errorf("laying a cable from %s to %s: %w", n.Name, other.Name, err)
	}
	master, err := n.links.LinkByName(bridge)
	if err == nil {
		err = n.links.LinkSetMaster(cable, master)
	}
	if err == nil && hairpin {
		err = n.links.LinkSetHairpin(cable, true)
	}
	if err != nil {
		return fmt.Errorf("plugging %s into %s in %s: %w", port, bridge, n.Name, err)
	}
	if err := n.up(port); err != nil {
		return err
	}
	return other.up(device)
}

// addresses adds addresses with their prefix lengths to a device.
func (n *Namespace) addresses(device string, cidrs ...string) error {
	for _, cidr := range cidrs {
		if err := n.address(device, cidr, n.links.AddrReplace); err != nil {
			return err
		}
	}
	return nil
}

func (n *Namespace) address(device, cidr string, change func(netlink.Link, *netlink.Addr) error) error {
	link, err := n.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s in %s: %w", device, n.Name, err)
	}
	address, err := netlink.ParseAddr(cidr)
	if err != nil {
		return fmt.Errorf("address %q: %w", cidr, err)
	}
	address.Flags |= unix.IFA_F_NODAD
	if err := change(link, address); err != nil {
		return fmt.Errorf("address %s of %s in %s: %w", cidr, device, n.Name, err)
	}
	return nil
}

// route routes a destination by a gateway.
func (n *Namespace) route(destination, gateway string) error {
	_, to, err := net.ParseCIDR(destination)
	if err != nil {
		return err
	}
	if err := n.links.RouteReplace(&netlink.Route{Dst: to, Gw: net.ParseIP(gateway)}); err != nil {
		return fmt.Errorf("routing %s by %s in %s: %w", destination, gateway, n.Name, err)
	}
	return nil
}
