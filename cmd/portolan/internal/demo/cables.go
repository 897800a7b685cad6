package demo

import (
	"os"
	"sync"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/netlab"
)

// dual is what somebody has in each address family.
type dual struct{ v4, v6 string }

// leaf connects a namespace to its router, which knows how to reach it, and through
// which it reaches everything else.
func leaf(n *netlab.Namespace, own dual, router *netlab.Namespace, gateway dual, routerDevice string) error {
	err := netlab.Connect(
		netlab.End{In: n, Device: "eth0", Addresses: own.hosts()},
		netlab.End{In: router, Device: routerDevice, Addresses: gateway.hosts()})
	if err != nil {
		return err
	}
	const direct = ""
	if err := route(router, own.routes(), dual{direct, direct}, routerDevice); err != nil {
		return err
	}
	if err := route(n, gateway.routes(), dual{direct, direct}, "eth0"); err != nil {
		return err
	}
	return route(n, dual{netlab.Default4, netlab.Default6}, gateway, "eth0")
}

// route routes in the families that the kernel has.
func route(n *netlab.Namespace, destination, gateway dual, device string) error {
	if err := n.Route(destination.v4, gateway.v4, device); err != nil || !hasIPv6() {
		return err
	}
	return n.Route(destination.v6, gateway.v6, device)
}

func forward(n *netlab.Namespace) error {
	if err := n.Sysctl("ipv4/ip_forward", "1"); err != nil || !hasIPv6() {
		return err
	}
	return n.Sysctl("ipv6/conf/all/forwarding", "1")
}

// routes returns the addresses as destinations of their own.
func (d dual) routes() dual { return dual{d.v4 + "/32", d.v6 + "/128"} }

// hosts returns the addresses for a device, in the families that the kernel has.
func (d dual) hosts() []string {
	if !hasIPv6() {
		return []string{d.v4 + "/32"}
	}
	return []string{d.v4 + "/32", d.v6 + "/128"}
}

// hasIPv6 tells whether the kernel has IPv6, it is not switched off, and we may make
// routers: in some containers /proc/sys cannot be written.
var hasIPv6 = sync.OnceValue(func() bool {
	const configuration = "/proc/sys/net/ipv6/conf/all/"
	off, err := os.ReadFile(configuration + "disable_ipv6")
	if err != nil || string(off) != "0\n" {
		return false
	}
	file, err := os.OpenFile(configuration+"forwarding", os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	return file.Close() == nil
})
