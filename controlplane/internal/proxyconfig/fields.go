package proxyconfig

import (
	"net/netip"
	"strings"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
)

// Field is a field of kube-proxy's configuration and what stands for it in ours.
type Field struct {
	// Path is kube-proxy's field; a mapping stands for all that is in it.
	Path string
	// Own is our field, or empty if there is none.
	Own string
	// Why says of a field without one what to do instead, or why there is nothing to do;
	// it goes on after "it".
	Why string
	// counts tells whether the field has an effect in a file; nil if always.
	counts func(*file) bool
	// Unless says when it has none; it goes on after "it".
	Unless string
}

type file = kubeproxyv1alpha1.KubeProxyConfiguration

const (
	agentFlag   = "is set on each node: portolan-agent --"
	planeFlag   = "is set on the control plane: portolan-controlplane --"
	windowsOnly = "is for Windows"
)

// Fields are all fields of kube-proxy's configuration.
var Fields = []Field{
	{Path: "mode", Own: "mode"},
	{Path: "bindAddress", Own: "primaryFamily", counts: namesAnAddress, Unless: "chooses no family: that of the Node's first address is the primary one"},
	{Path: "nodePortAddresses", Own: "nodePortAddresses"},
	{Path: "detectLocalMode", Own: "detectLocal.mode"},
	{Path: "clusterCIDR", Own: "detectLocal.clusterCIDRs", counts: detects("", "ClusterCIDR"), Unless: "counts in detectLocalMode ClusterCIDR only"},
	{Path: "detectLocal.bridgeInterface", Own: "detectLocal.interface", counts: detects("BridgeInterface"), Unless: "counts in detectLocalMode BridgeInterface only"},
	{Path: "detectLocal.interfaceNamePrefix", Own: "detectLocal.interface", counts: detects("InterfaceNamePrefix"), Unless: "counts in detectLocalMode InterfaceNamePrefix only"},

	{Path: "nftables.masqueradeAll", Own: "masquerade.all", counts: notIPVS, Unless: "counts in mode nftables: in mode ipvs set iptables.masqueradeAll"},
	{Path: "nftables.masqueradeBit", Own: "masquerade.bit", counts: notIPVS, Unless: "counts in mode nftables: in mode ipvs set iptables.masqueradeBit"},
	{Path: "nftables.syncPeriod", Own: "sync.period", counts: notIPVS, Unless: "counts in mode nftables: in mode ipvs set ipvs.syncPeriod"},
	{Path: "nftables.minSyncPeriod", Own: "sync.minPeriod", counts: notIPVS, Unless: "counts in mode nftables: in mode ipvs set ipvs.minSyncPeriod"},
	{Path: "iptables.masqueradeAll", Own: "masquerade.all", counts: inIPVS, Unless: "counts in mode ipvs: in mode nftables set nftables.masqueradeAll"},
	{Path: "iptables.masqueradeBit", Own: "masquerade.bit", counts: inIPVS, Unless: "counts in mode ipvs: in mode nftables set nftables.masqueradeBit"},
	{Path: "iptables.localhostNodePorts", Own: "localhostNodePorts", counts: refusesLocalhost, Unless: "is asked for apart: set localhostNodePorts in a Portolan configuration, or portolan-controlplane --localhost-node-ports"},
	{Path: "iptables.syncPeriod", Why: "counts in mode iptables, which Portolan has not: set nftables.syncPeriod or ipvs.syncPeriod"},
	{Path: "iptables.minSyncPeriod", Why: "counts in mode iptables, which Portolan has not: set nftables.minSyncPeriod or ipvs.minSyncPeriod"},

	{Path: "ipvs.scheduler", Own: "ipvs.scheduler"},
	{Path: "ipvs.strictARP", Own: "ipvs.strictARP"},
	{Path: "ipvs.tcpTimeout", Own: "ipvs.tcpTimeout"},
	{Path: "ipvs.tcpFinTimeout", Own: "ipvs.tcpFinTimeout"},
	{Path: "ipvs.udpTimeout", Own: "ipvs.udpTimeout"},
	{Path: "ipvs.excludeCIDRs", Own: "ipvs.excludeCIDRs"},
	{Path: "ipvs.syncPeriod", Own: "sync.period", counts: inIPVS, Unless: "counts in mode ipvs: in mode nftables set nftables.syncPeriod"},
	{Path: "ipvs.minSyncPeriod", Own: "sync.minPeriod", counts: inIPVS, Unless: "counts in mode ipvs: in mode nftables set nftables.minSyncPeriod"},

	{Path: "conntrack.maxPerCore", Own: "conntrack.maxPerCore"},
	{Path: "conntrack.min", Own: "conntrack.min"},
	{Path: "conntrack.tcpEstablishedTimeout", Own: "conntrack.tcpEstablishedTimeout"},
	{Path: "conntrack.tcpCloseWaitTimeout", Own: "conntrack.tcpCloseWaitTimeout"},
	{Path: "conntrack.udpTimeout", Own: "conntrack.udpTimeout"},
	{Path: "conntrack.udpStreamTimeout", Own: "conntrack.udpStreamTimeout"},
	{Path: "conntrack.tcpBeLiberal", Own: "conntrack.tcpBeLiberal"},
	{Path: "featureGates." + externalIPsGate, Own: "allowExternalIPs"},
	{Path: "featureGates", Why: "is a gate of kube-proxy's own code"},

	{Path: "hostnameOverride", Why: agentFlag + "node"},
	{Path: "healthzBindAddress", Why: agentFlag + "healthz-bind-address"},
	{Path: "metricsBindAddress", Why: agentFlag + "metrics-bind-address"},
	{Path: "bindAddressHardFail", Why: agentFlag + "bind-address-hard-fail"},
	{Path: "enableProfiling", Why: agentFlag + "profiling"},
	{Path: "oomScoreAdj", Why: "is set by whoever starts the agent: in a Pod by its quality of service"},
	{Path: "clientConnection", Why: planeFlag + "kubeconfig"},
	{Path: "configSyncPeriod", Why: "is not needed: the API server is watched"},
	{Path: "logging", Why: "is set by the flags --log-level and --log-format of each program"},
	{Path: "showHiddenMetricsForVersion", Why: "is not needed: no metric is hidden"},
	{Path: "portRange", Why: "had no effect in kube-proxy either"},
	{Path: "winkernel", Why: windowsOnly},
	{Path: "windowsRunAsService", Why: windowsOnly},
}

// externalIPsGate is the one feature gate that decides about packets.
const externalIPsGate = "AllowServiceExternalIPs"

func inIPVS(f *file) bool  { return f.Mode == "ipvs" }
func notIPVS(f *file) bool { return !inIPVS(f) }

// refusesLocalhost tells whether a file asks for what nodes do anyway.
func refusesLocalhost(f *file) bool {
	return f.IPTables.LocalhostNodePorts != nil && !*f.IPTables.LocalhostNodePorts
}

// detects tells whether a file's detector of local traffic is one of these.
func detects(modes ...kubeproxyv1alpha1.LocalMode) func(*file) bool {
	return func(f *file) bool {
		for _, mode := range modes {
			if f.DetectLocalMode == mode {
				return true
			}
		}
		return false
	}
}

// namesAnAddress tells whether bindAddress is not all addresses. What is no address at
// all counts too, so that it is refused.
func namesAnAddress(f *file) bool {
	addr, err := netip.ParseAddr(f.BindAddress)
	return f.BindAddress != "" && (err != nil || !addr.Unmap().IsUnspecified())
}

// find returns the field that a path belongs to, the longest that contains it, or nil.
func find(path string) *Field {
	var found *Field
	for i := range Fields {
		f := &Fields[i]
		if (path == f.Path || strings.HasPrefix(path, f.Path+".")) && (found == nil || len(f.Path) > len(found.Path)) {
			found = f
		}
	}
	return found
}

// effective tells whether a field has an effect in a file.
func (f *Field) effective(in *file) bool { return f.Own != "" && (f.counts == nil || f.counts(in)) }
