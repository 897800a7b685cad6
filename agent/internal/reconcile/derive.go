package reconcile

import (
	"net/netip"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/nodeaddr"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// View returns what the state has of a Service.
func View(s *state.State, name string) ruleset.View {
	return ruleset.View{Service: s.Service(name), Sets: s.EndpointSets(name), Local: s.Local(name)}
}

// AllServices returns the Services of the state and those that only the table has
// still.
func AllServices(s *state.State, table *ruleset.Table) map[string]struct{} {
	all := map[string]struct{}{}
	for _, name := range s.Services() {
		all[name] = struct{}{}
	}
	for name := range table.Services() {
		all[name] = struct{}{}
	}
	return all
}

// Environment returns what the node itself adds to the ruleset, given its
// configuration, which may be nil, and its addresses.
func Environment(config *state.NodeConfig, addresses []netip.Addr) ruleset.Environment {
	if config == nil {
		return ruleset.Environment{}
	}
	if config.NodePortPrimary {
		return ruleset.Environment{NodeIPs: config.NodeIPs, NodePortAddrs: config.NodeIPs, HealthCheckAddrs: config.NodeIPs,
			LocalhostNodePorts: config.LocalhostNodePorts}
	}
	return ruleset.Environment{
		LocalhostNodePorts: config.LocalhostNodePorts,

		NodeIPs:          config.NodeIPs,
		NodePortAddrs:    nodeaddr.ForNodePorts(addresses, config.NodePortCIDRs),
		HealthCheckAddrs: nodeaddr.ForListening(addresses, config.NodePortCIDRs),
	}
}

// defaultMasqueradeBit is kube-proxy's, for a node that has no configuration yet.
const defaultMasqueradeBit = 14

// Settings returns what the data plane needs of the node's and the cluster's
// configuration, both of which may be nil, and of the node's own addresses.
func Settings(config *state.NodeConfig, cluster *state.ClusterConfig, own []netip.Addr) dataplane.Settings {
	settings := dataplane.Settings{MasqueradeBit: defaultMasqueradeBit}
	if config != nil {
		settings = dataplane.Settings{
			Detect: config.Detect, DetectCIDRs: config.DetectCIDRs, DetectInterface: config.DetectInterface,
			MasqueradeAll: config.MasqueradeAll, MasqueradeBit: config.MasqueradeBit,
			TCPBeLiberal: config.Conntrack.GetTcpBeLiberal(), IPVS: ipvs(config, own),
		}
	}
	if cluster != nil {
		settings.ServiceCIDRs = cluster.ServiceCIDRs
	}
	return settings
}

// ipvs returns how IPVS is to work, or nil if it is not to.
func ipvs(config *state.NodeConfig, own []netip.Addr) *dataplane.IPVS {
	if config.Mode != discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		return nil
	}
	c := config.IPVS
	return &dataplane.IPVS{
		Scheduler: c.GetScheduler(), StrictARP: c.GetStrictArp(), Exclude: config.IPVSExclude, OwnAddrs: own,
		TCPTimeout: c.GetTcpTimeout().AsDuration(), TCPFinTimeout: c.GetTcpFinTimeout().AsDuration(), UDPTimeout: c.GetUdpTimeout().AsDuration(),
	}
}
