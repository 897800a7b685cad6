package proxyconfig

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"time"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// field is one that is set without effect here.
type field struct {
	name string
	set  bool
	// instead says where to set it, or why there is nothing to set.
	instead string
}

const (
	agentFlag   = "is set on each node: portolan-agent --"
	planeFlag   = "is set on the control plane: portolan-controlplane --"
	windowsOnly = "is for Windows"
)

// ineffective warns of each field that is set and has no effect.
func ineffective(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	list := []field{
		{"hostnameOverride", file.HostnameOverride != "", agentFlag + "node"},
		{"healthzBindAddress", file.HealthzBindAddress != "", agentFlag + "healthz-bind-address"},
		{"metricsBindAddress", file.MetricsBindAddress != "", agentFlag + "metrics-bind-address"},
		{"bindAddressHardFail", file.BindAddressHardFail, agentFlag + "bind-address-hard-fail"},
		{"enableProfiling", file.EnableProfiling, agentFlag + "profiling"},
		{"oomScoreAdj", file.OOMScoreAdj != nil, "is set by whoever starts the agent: in a Pod by its quality of service"},
		{"clientConnection", !reflect.ValueOf(file.ClientConnection).IsZero(), planeFlag + "kubeconfig"},
		{"configSyncPeriod", file.ConfigSyncPeriod.Duration != 0, "is not needed: the API server is watched"},
		{"logging", !reflect.ValueOf(file.Logging).IsZero(), "is set by the flags --log-level and --log-format of each program"},
		{"showHiddenMetricsForVersion", file.ShowHiddenMetricsForVersion != "", "is not needed: no metric is hidden"},
		{"portRange", file.PortRange != "", "had no effect in kube-proxy either"},
		{"winkernel", !reflect.ValueOf(file.Winkernel).IsZero(), windowsOnly},
		{"windowsRunAsService", file.WindowsRunAsService, windowsOnly},
		{"iptables.localhostNodePorts", file.IPTables.LocalhostNodePorts != nil && *file.IPTables.LocalhostNodePorts, planeFlag + "localhost-node-ports"},
	}
	if config.Settings.Mode == discoveryv1.ProxyMode_PROXY_MODE_NFTABLES {
		const instead = "counts in mode nftables: set nftables."
		list = append(list,
			field{"iptables.masqueradeAll", file.IPTables.MasqueradeAll, instead + "masqueradeAll"},
			field{"iptables.masqueradeBit", file.IPTables.MasqueradeBit != nil, instead + "masqueradeBit"},
			field{"iptables.syncPeriod", file.IPTables.SyncPeriod.Duration != 0, instead + "syncPeriod"},
			field{"iptables.minSyncPeriod", file.IPTables.MinSyncPeriod.Duration != 0, instead + "minSyncPeriod"},
		)
	}
	for _, f := range list {
		if f.set {
			config.Warnings = append(config.Warnings, fmt.Sprintf("%s has no effect here: it %s", f.name, f.instead))
		}
	}
	return nil
}

// limits refuses what kube-proxy would refuse, also in fields that have no effect: a
// file that is wrong is wrong.
func limits(file *kubeproxyv1alpha1.KubeProxyConfiguration, _ *Config) error {
	const lowest, highest = -1000, 1000
	if adj := file.OOMScoreAdj; adj != nil && (*adj < lowest || *adj > highest) {
		return fmt.Errorf("oomScoreAdj %d: expected %d to %d", *adj, lowest, highest)
	}
	for name, d := range map[string]time.Duration{
		"configSyncPeriod": file.ConfigSyncPeriod.Duration, "iptables.syncPeriod": file.IPTables.SyncPeriod.Duration,
		"iptables.minSyncPeriod": file.IPTables.MinSyncPeriod.Duration, "ipvs.syncPeriod": file.IPVS.SyncPeriod.Duration,
		"ipvs.minSyncPeriod": file.IPVS.MinSyncPeriod.Duration,
	} {
		if d < 0 {
			return fmt.Errorf("%s %s: expected at least 0s", name, d)
		}
	}
	for name, address := range map[string]string{"healthzBindAddress": file.HealthzBindAddress, "metricsBindAddress": file.MetricsBindAddress} {
		if address != "" && !isBindAddress(address) {
			return fmt.Errorf("%s %q: expected an address and port such as 0.0.0.0:10256", name, address)
		}
	}
	return nil
}

// isBindAddress tells whether an address can be listened on, with a port or without
// one, as kube-proxy has it.
func isBindAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		_, err = netip.ParseAddr(address)
		return err == nil
	}
	_, err = netip.ParseAddrPort(net.JoinHostPort(host, port))
	return err == nil
}
