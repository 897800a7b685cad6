// Package lab is a small cluster of network namespaces around one node under test.
//
//	             node-a (under test)                          fabric
//	pc1 pc2 ─┐   ┌────────────────────────┐ 192.168.0.2  ┌──────────┬─ node-b: pods nb1 … nb4
//	pe1 pe2 ─┼───┤ cni0 10.244.1.1   eth0 ├──────────────┤          ├─ node-c: pods nc1 … nc4
//	pe3     ─┘   └────────────────────────┘ 192.168.1.2  └──────────┴─ outside: 203.0.113.2 …
//
// Everybody has both address families. The other machines send what is not theirs to
// the node under test, so that it sees both directions of every connection.
package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Place is somebody with addresses: a pod, a machine, an address outside.
type Place struct {
	Name      string
	In        *Namespace
	Addresses []netip.Addr
}

// Of returns its first address of the family that the given address has.
func (p *Place) Of(family netip.Addr) netip.Addr {
	for _, address := range p.Addresses {
		if address.Is4() == family.Is4() {
			return address
		}
	}
	return netip.Addr{}
}

// Lab is the cluster.
type Lab struct {
	// Node is the node under test.
	Node *Namespace
	// LocalAddresses are the node's; the first two are its primary ones.
	LocalAddresses []netip.Addr

	fabric *Namespace
	places map[string]*Place
}

// Bridge is the device by which the node's pods send.
const Bridge = "cni0"

var (
	nodeAddresses = []string{"192.168.0.2/24", "fd00:168::2/64", "192.168.1.2/24", "fd00:168:1::2/64"}
	gateways      = []string{"10.244.1.1/24", "fd00:10:244:1::1/64"}
	// outsiders are the addresses of the machine outside.
	outsiders = []string{
		"203.0.113.2", "203.0.113.3", "203.0.113.130", "198.51.100.77",
		"2001:db8:ffff::2", "2001:db8:ffff::3", "2001:db8:bad::2",
	}
)

// localPods are the pods of the node under test: the last part of their addresses.
var localPods = []struct {
	name string
	last int
}{{"pc1", 10}, {"pc2", 11}, {"pe1", 21}, {"pe2", 22}, {"pe3", 23}}

const podsOfOthers = 4

// New builds a lab. It lives as long as the process.
func New() (*Lab, error) {
	l := &Lab{places: map[string]*Place{}}
	for _, build := range []func() error{l.buildNode, l.buildPods, l.buildOthers, l.buildOutside, l.startRecorder} {
		if err := build(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Find returns the place of a name or address.
func (l *Lab) Find(name string) (*Place, error) {
	if p := l.places[name]; p != nil {
		return p, nil
	}
	if address, err := netip.ParseAddr(name); err == nil {
		for _, p := range l.places {
			if slices.Contains(p.Addresses, address) {
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("nobody is called %q here: expected one of %s", name, strings.Join(l.Names(), " "))
}

// Names lists who is in the lab.
func (l *Lab) Names() []string {
	var names []string
	for name := range l.places {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// NameOf returns the short name of an address, or the address.
func (l *Lab) NameOf(address netip.Addr) string {
	if p, err := l.Find(address.String()); err == nil && len(p.Addresses) <= 2 {
		return p.Name
	}
	return address.String()
}

func (l *Lab) buildNode() (err error) {
	if l.fabric, err = newNamespace("fabric"); err != nil {
		return err
	}
	if err := l.fabric.bridge("switch"); err != nil {
		return err
	}
	if l.Node, err = l.machine("node-a", nodeAddresses...); err != nil {
		return err
	}
	if err := l.Node.bridge(Bridge); err != nil {
		return err
	}
	if err := l.Node.addresses(Bridge, gateways...); err != nil {
		return err
	}
	for _, cidr := range slices.Concat(nodeAddresses, gateways, []string{"127.0.0.1/8", "::1/128"}) {
		l.LocalAddresses = append(l.LocalAddresses, netip.MustParsePrefix(cidr).Addr())
	}
	l.places["host"] = &Place{Name: "host", In: l.Node, Addresses: l.LocalAddresses}
	// Or the kernel answers only now and then.
	if err := l.Node.sysctl("ipv4/icmp_ratelimit", "0"); err != nil {
		return err
	}
	return l.Node.sysctl("ipv6/icmp/ratelimit", "0")
}

// machine makes a machine that forwards, on the fabric.
func (l *Lab) machine(name string, cidrs ...string) (*Namespace, error) {
	n, err := newNamespace(name)
	if err != nil {
		return nil, err
	}
	for _, sysctl := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := n.sysctl(sysctl, "1"); err != nil {
			return nil, err
		}
	}
	for _, sysctl := range []string{"ipv4/conf/all/send_redirects", "ipv4/conf/default/send_redirects"} {
		if err := n.sysctl(sysctl, "0"); err != nil {
			return nil, err
		}
	}
	if err := l.fabric.plug("switch", name, n, "eth0", false); err != nil {
		return nil, err
	}
	return n, n.addresses("eth0", cidrs...)
}

func (l *Lab) buildPods() error {
	for _, pod := range localPods {
		n, err := newNamespace(pod.name)
		if err != nil {
			return err
		}
		if err := l.Node.plug(Bridge, "to-"+pod.name, n, "eth0", true); err != nil {
			return err
		}
		own := []string{fmt.Sprintf("10.244.1.%d", pod.last), fmt.Sprintf("fd00:10:244:1::%d", pod.last)}
		if err := n.addresses("eth0", own[0]+"/24", own[1]+"/64"); err != nil {
			return err
		}
		if err := defaultRoutes(n, "10.244.1.1", "fd00:10:244:1::1"); err != nil {
			return err
		}
		l.place(pod.name, n, own...)
	}
	return nil
}

// buildOthers makes the other nodes, whose pods are only addresses.
func (l *Lab) buildOthers() error {
	for i, letter := range []string{"b", "c"} {
		number := i + 2
		name, own4, own6 := "node-"+letter, fmt.Sprintf("192.168.0.%d", number+1), fmt.Sprintf("fd00:168::%d", number+1)
		n, err := l.machine(name, own4+"/24", own6+"/64")
		if err != nil {
			return err
		}
		l.place(name, n, own4, own6)
		if err := defaultRoutes(n, "192.168.0.2", "fd00:168::2"); err != nil {
			return err
		}
		for pod := 1; pod <= podsOfOthers; pod++ {
			last := 10*number + 10 + pod // nb1 is 10.244.2.31, nc1 is 10.244.3.41.
			own := []string{fmt.Sprintf("10.244.%d.%d", number, last), fmt.Sprintf("fd00:10:244:%d::%d", number, last)}
			if err := n.addresses("lo", own[0]+"/32", own[1]+"/128"); err != nil {
				return err
			}
			l.place(fmt.Sprintf("n%s%d", letter, pod), n, own...)
		}
		if err := l.Node.route(fmt.Sprintf("10.244.%d.0/24", number), own4); err != nil {
			return err
		}
		if err := l.Node.route(fmt.Sprintf("fd00:10:244:%d::/64", number), own6); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) buildOutside() error {
	n, err := l.machine("outside", "192.168.0.100/24", "fd00:168::100/64")
	if err != nil {
		return err
	}
	for _, address := range outsiders {
		if err := n.addresses("lo", single(address)); err != nil {
			return err
		}
	}
	l.place("outside", n, outsiders...)
	if err := defaultRoutes(n, "192.168.0.2", "fd00:168::2"); err != nil {
		return err
	}
	return defaultRoutes(l.Node, "192.168.0.100", "fd00:168::100")
}

func (l *Lab) place(name string, n *Namespace, addresses ...string) {
	p := &Place{Name: name, In: n}
	for _, address := range addresses {
		p.Addresses = append(p.Addresses, netip.MustParseAddr(address))
	}
	l.places[name] = p
}

// Own gives the node more addresses, and returns what takes them away again.
func (l *Lab) Own(addresses ...netip.Addr) (undo func() error, err error) {
	before := l.LocalAddresses
	for _, address := range addresses {
		if err := l.Node.addresses("lo", single(address.String())); err != nil {
			return nil, err
		}
		l.LocalAddresses = append(slices.Clone(l.LocalAddresses), address)
	}
	l.places["host"].Addresses = l.LocalAddresses
	return func() error {
		l.LocalAddresses, l.places["host"].Addresses = before, before
		for _, address := range addresses {
			if err := l.Node.address("lo", single(address.String()), l.Node.links.AddrDel); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func defaultRoutes(n *Namespace, gateway4, gateway6 string) error {
	if err := n.route("0.0.0.0/0", gateway4); err != nil {
		return err
	}
	return n.route("::/0", gateway6)
}

// single is an address as a range of its own.
func single(address string) string {
	a := netip.MustParseAddr(address)
	return netip.PrefixFrom(a, a.BitLen()).String()
}
