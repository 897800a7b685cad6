// Package origin finds out who makes a connection, at which node it is decided about, and
// to which frontends of which Service it goes, from what people write. It is pure.
package origin

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/near"
	"github.com/portolan-net/portolan/controlplane/reference"
)

// Objects are what is looked through.
type Objects interface {
	Nodes() []*model.Node
	Slices() []*model.Slice
	Services() []model.Key
	// Service returns a Service and its slices; nil if it is not there.
	Service(model.Key) (*model.Service, []*model.Slice)
}

// Origin is who makes a connection.
type Origin struct {
	// Node is where it is decided about: the home of a pod or node.
	Node string
	From reference.Origin
	// Addrs are the addresses of the origin, at most one of each family.
	Addrs []netip.Addr
	// Text says in words who it is.
	Text string
}

// Find returns the origin that a text names: "pod/NAMESPACE/NAME", "NAMESPACE/NAME",
// "node/NAME", "NAME" or an address. at is the node where connections come in, if it is said;
// who is at home elsewhere comes to it from outside.
func Find(text, at string, objects Objects) (Origin, error) {
	o, err := find(text, objects)
	if err != nil {
		return o, err
	}
	switch {
	case at == "" && o.Node == "":
		return o, fmt.Errorf("from %q: no address of a pod or node of the cluster: expected a node too, to which connections come", text)
	case at != "" && at != o.Node:
		o.Node, o.From = at, reference.FromOutside
		o.Text += ", coming to node " + at
	}
	return o, nil
}

func find(text string, objects Objects) (Origin, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return byAddress(addr.Unmap(), objects), nil
	}
	if name, ok := strings.CutPrefix(text, "pod/"); ok {
		return pod(name, objects)
	}
	name, isNode := strings.CutPrefix(text, "node/")
	if !isNode && strings.Contains(text, "/") {
		return pod(text, objects)
	}
	var names []string
	for _, node := range objects.Nodes() {
		if node.Name == name {
			return Origin{Node: name, From: reference.FromHost, Addrs: oneOfEach(node.IPs), Text: "a process of node " + name}, nil
		}
		names = append(names, node.Name)
	}
	if o, err := pod(text, objects); err == nil && !isNode {
		return o, nil
	}
	return Origin{}, fmt.Errorf("from %q: expected a node, a pod (NAMESPACE/NAME) or an address%s", text, near.Hint(name, names))
}

// pod finds a pod that is an endpoint; others are not known here.
func pod(name string, objects Objects) (Origin, error) {
	key := model.ParseKey(name)
	o := Origin{From: reference.FromPod, Text: "pod " + key.String()}
	for e := range endpoints(objects, key.Namespace) {
		if e.Pod == key.Name {
			o.Node, o.Addrs = e.Node, append(o.Addrs, e.Addr)
		}
	}
	if o.Addrs = oneOfEach(o.Addrs); len(o.Addrs) == 0 {
		return o, fmt.Errorf("from %q: no EndpointSlice has a pod %s: give its address instead", name, key)
	}
	if o.Node != "" {
		o.Text += " of node " + o.Node
	}
	return o, nil
}

// byAddress finds who has an address: a node, an endpoint, or a pod by its node's range.
func byAddress(addr netip.Addr, objects Objects) Origin {
	nodes := objects.Nodes()
	for _, node := range nodes {
		if slices.Contains(node.IPs, addr) {
			return Origin{Node: node.Name, From: reference.FromHost, Addrs: []netip.Addr{addr}, Text: fmt.Sprintf("%s, node %s", addr, node.Name)}
		}
	}
	o := Origin{From: reference.FromPod, Addrs: []netip.Addr{addr}}
	for e := range endpoints(objects, "") {
		if e.Addr == addr && e.Node != "" {
			o.Node, o.Text = e.Node, fmt.Sprintf("%s, an endpoint of node %s", addr, e.Node)
			return o
		}
	}
	for _, node := range nodes {
		if slices.ContainsFunc(node.PodCIDRs, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			o.Node, o.Text = node.Name, fmt.Sprintf("%s, a pod of node %s by its pod CIDR", addr, node.Name)
			return o
		}
	}
	return Origin{From: reference.FromOutside, Addrs: []netip.Addr{addr}, Text: addr.String()}
}

// endpoints yields the endpoints of a namespace, or of all.
func endpoints(objects Objects, namespace string) iter.Seq[*model.Endpoint] {
	return func(yield func(*model.Endpoint) bool) {
		for _, slice := range objects.Slices() {
			if namespace != "" && slice.Namespace != namespace {
				continue
			}
			for i := range slice.Endpoints {
				if !yield(&slice.Endpoints[i]) {
					return
				}
			}
		}
	}
}

// oneOfEach returns the first address of each family.
func oneOfEach(addrs []netip.Addr) []netip.Addr {
	var list []netip.Addr
	for _, addr := range addrs {
		if !slices.ContainsFunc(list, func(other netip.Addr) bool { return other.Is6() == addr.Is6() }) {
			list = append(list, addr)
		}
	}
	return list
}
