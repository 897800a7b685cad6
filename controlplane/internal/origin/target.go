package origin

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Target is what a connection is made to.
type Target struct {
	Service model.Key
	// Address is the frontend's, if it was said.
	Address netip.Addr
	// Port is a number or a name; empty stands for all.
	Port string
	// Node is the one whose address it is; empty if it is a Service's.
	Node string
}

// To returns the target that a text names: "NAMESPACE/NAME:PORT" or "ADDRESS:PORT".
func To(text string, objects Objects) (Target, error) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return byFrontend(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), objects)
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		const web = 80
		return Target{}, fmt.Errorf("to %q: expected a port too: %s", text, netip.AddrPortFrom(addr, web))
	}
	name, port, _ := strings.Cut(text, ":")
	t := Target{Service: model.ParseKey(name), Port: port}
	service, _ := objects.Service(t.Service)
	switch {
	case name == "":
		return t, fmt.Errorf("to %q: expected SERVICE:PORT or ADDRESS:PORT", text)
	case service != nil && port != "" && !slices.ContainsFunc(service.Ports, t.matches):
		return t, fmt.Errorf("to %q: Service %s has no port %s: expected one of %s", text, t.Service, port, ports(service))
	}
	return t, nil
}

// matches tells whether a port is the one that is meant.
func (t Target) matches(p model.Port) bool {
	return t.Port == p.Name || t.Port == strconv.Itoa(int(p.Port)) || p.NodePort != 0 && t.Port == strconv.Itoa(int(p.NodePort))
}

func ports(service *model.Service) string {
	var list []string
	for _, p := range service.Ports {
		text := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			text += " (" + p.Name + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// byFrontend finds the Service that has an address and port, or the node port of one.
func byFrontend(at netip.AddrPort, objects Objects) (Target, error) {
	t := Target{Address: at.Addr(), Port: strconv.Itoa(int(at.Port()))}
	for _, node := range objects.Nodes() {
		if slices.Contains(node.IPs, at.Addr()) {
			t.Node = node.Name
		}
	}
	for _, key := range objects.Services() {
		service, _ := objects.Service(key)
		if service == nil {
			continue
		}
		isOwn := slices.Contains(service.ClusterIPs, at.Addr()) || slices.Contains(service.ExternalIPs, at.Addr()) || slices.Contains(service.LoadBalancerIPs, at.Addr())
		for _, p := range service.Ports {
			if isOwn && p.Port == at.Port() || t.Node != "" && p.NodePort != 0 && p.NodePort == at.Port() {
				t.Service = key
				return t, nil
			}
		}
	}
	return t, fmt.Errorf("to %q: no Service has this address and port: expected a cluster, external or load-balancer IP with a port, or a node's with a node port", at)
}
