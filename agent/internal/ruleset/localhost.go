package ruleset

import (
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// LocalhostPort is a node port that also answers on a loopback address.
type LocalhostPort struct {
	// Listen is the loopback address, To the node port that stands behind it.
	Listen, To netip.AddrPort
	// Service is "namespace/name".
	Service string
}

// localhostPorts returns a Service's node ports on loopback addresses: those of TCP, in
// the families in which node ports answer at all.
func localhostPorts(service *state.Service, env Environment) []LocalhostPort {
	if service == nil || !env.LocalhostNodePorts {
		return nil
	}
	var list []LocalhostPort
	for _, loopback := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		ofFamily := func(addr netip.Addr) bool { return addr.Is6() == loopback.Is6() }
		at := slices.IndexFunc(env.NodePortAddrs, ofFamily)
		if at < 0 || !slices.ContainsFunc(service.ClusterIPs, ofFamily) {
			continue
		}
		for _, port := range service.Ports {
			if port.NodePort != 0 && port.Protocol == state.TCP {
				list = append(list, LocalhostPort{
					Listen: netip.AddrPortFrom(loopback, port.NodePort), To: netip.AddrPortFrom(env.NodePortAddrs[at], port.NodePort),
					Service: service.Name,
				})
			}
		}
	}
	return list
}

// LocalhostPorts returns all node ports on loopback addresses, ordered.
func (t *Table) LocalhostPorts() []LocalhostPort {
	list := t.localhost.all()
	slices.SortFunc(list, func(a, b LocalhostPort) int { return a.Listen.Compare(b.Listen) })
	return list
}
