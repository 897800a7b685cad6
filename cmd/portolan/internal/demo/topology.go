package demo

import (
	"fmt"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/netlab"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/traffic"
)

// The addresses are of private and documentation ranges (RFC 1918, 4193, 5737, 3849).
const (
	controlAddress = "192.168.0.254"
	controlPort    = "9440"
	clientAddress  = "198.51.100.7"
	clientGateway  = "198.51.100.1"
	serviceCIDR    = "10.96.0.0/16"
	serviceCIDR6   = "fd00:10:96::/112"
	podPort        = "8080"

	podsPerNode = 2
)

var (
	control = dual{controlAddress, "fd00:192:168::fe"}
	client  = dual{clientAddress, "2001:db8:51::7"}
	gateway = dual{clientGateway, "2001:db8:51::1"}
)

// node is a machine of the cluster.
type node struct {
	name, zone string
	// addresses are the Node's InternalIPs. Pods have addresses of podCIDRs and see
	// the node as gateway.
	addresses, podCIDRs, gateways dual

	namespace *netlab.Namespace
	agent     *process
}

// pod is a pod with its one process.
type pod struct {
	name      string
	addresses dual
	node      *node

	namespace *netlab.Namespace
	server    *traffic.Server
}

// topology is the machines and the cables between them:
//
//	internet ── control ─┬─ node-a ─┬─ a1
//	           (fabric)  │          └─ a2
//	                     ├─ node-b ── …
//	                     └─ node-c ── …
type topology struct {
	// control is the network between the machines, and where the control plane runs.
	control, internet *netlab.Namespace
	nodes             []*node
	pods              []*pod
}

func newTopology() *topology {
	t := &topology{}
	for i, zone := range []string{"zone-a", "zone-a", "zone-b"} {
		letter := string(rune('a' + i))
		n := &node{
			name: "node-" + letter, zone: zone, addresses: addresses("192.168.0.%d", "fd00:192:168::%x", i+1),
			podCIDRs: addresses("10.244.%d.0/24", "fd00:10:244:%x::/64", i+1),
			gateways: addresses("10.244.%d.1", "fd00:10:244:%x::1", i+1),
		}
		t.nodes = append(t.nodes, n)
		for j := range podsPerNode {
			t.pods = append(t.pods, &pod{
				name: fmt.Sprintf("%s%d", letter, j+1), node: n,
				addresses: addresses("10.244.%d.%d", "fd00:10:244:%x::%x", i+1, j+2),
			})
		}
	}
	return t
}

func addresses(format4, format6 string, numbers ...any) dual {
	return dual{fmt.Sprintf(format4, numbers...), fmt.Sprintf(format6, numbers...)}
}

// build makes the namespaces and cables.
func (t *topology) build() error {
	var err error
	if t.control, err = netlab.Current("control"); err != nil {
		return err
	}
	if err := forward(t.control); err != nil {
		return err
	}
	if err := t.buildInternet(); err != nil {
		return err
	}
	for _, n := range t.nodes {
		if err := t.buildNode(n); err != nil {
			return err
		}
	}
	for _, p := range t.pods {
		if err := p.build(); err != nil {
			return err
		}
	}
	// What a load balancer or router outside of the cluster would do.
	return t.control.Route(loadBalancerIP+"/32", t.nodes[0].addresses.v4, "to-"+t.nodes[0].name)
}

func (t *topology) buildInternet() (err error) {
	if t.internet, err = netlab.New("internet"); err != nil {
		return err
	}
	return leaf(t.internet, client, t.control, gateway, "to-internet")
}

func (t *topology) buildNode(n *node) (err error) {
	if n.namespace, err = netlab.New(n.name); err != nil {
		return err
	}
	device := "to-" + n.name
	if err := leaf(n.namespace, n.addresses, t.control, control, device); err != nil {
		return err
	}
	if err := forward(n.namespace); err != nil {
		return err
	}
	return route(t.control, n.podCIDRs, n.addresses, device)
}

func (p *pod) build() (err error) {
	if p.namespace, err = netlab.New(p.name); err != nil {
		return err
	}
	return leaf(p.namespace, p.addresses, p.node.namespace, p.node.gateways, "to-"+p.name)
}

// start starts the pod's process.
func (p *pod) start() error {
	listener, err := p.namespace.Listen(":" + podPort)
	if err != nil {
		return fmt.Errorf("starting pod %s: %w", p.name, err)
	}
	p.server = traffic.Serve(p.name, listener)
	return nil
}

// node returns a node by its letter.
func (t *topology) node(letter string) *node {
	for _, n := range t.nodes {
		if n.name == "node-"+letter {
			return n
		}
	}
	panic("no node-" + letter)
}

// pod returns a pod by its name.
func (t *topology) pod(name string) *pod {
	for _, p := range t.pods {
		if p.name == name {
			return p
		}
	}
	panic("no pod " + name)
}
