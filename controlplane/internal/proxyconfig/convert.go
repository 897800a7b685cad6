package proxyconfig

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
)

// convert returns what a file comes to, but for the primary family. Zero values that
// stand for kube-proxy's defaults are left out where ours are the same.
func convert(in *file) v1alpha1.Configuration {
	out := v1alpha1.Configuration{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.Kind}
	out.Mode = v1alpha1.Mode(in.Mode)
	if out.Mode == iptables {
		out.Mode = v1alpha1.ModeNFTables
	}
	out.NodePortAddresses = nodePortAddresses(in)
	if refusesLocalhost(in) {
		out.LocalhostNodePorts = in.IPTables.LocalhostNodePorts
	}
	out.DetectLocal = detectLocal(in)
	out.Masquerade, out.Sync = perMode(in)
	out.IPVS = ipvs(in)
	out.Conntrack = conntrack(in)
	if allowed, set := in.FeatureGates[externalIPsGate]; set {
		out.AllowExternalIPs = &allowed
	}
	return out
}

// iptables is the mode that we have not: nftables does what it does. It is kube-proxy's
// default.
const iptables = "iptables"

// nodePortAddresses are all addresses by default, as in kube-proxy, but for its mode
// nftables, whose default is ours (pkg/proxy/util/nodeport_addresses.go). Who leaves
// another mode keeps the node ports that there are.
func nodePortAddresses(in *file) []string {
	switch {
	case len(in.NodePortAddresses) > 0:
		return in.NodePortAddresses
	case v1alpha1.Mode(in.Mode) == v1alpha1.ModeNFTables:
		return nil
	default:
		return []string{"0.0.0.0/0", "::/0"}
	}
}

func detectLocal(in *file) v1alpha1.DetectLocal {
	out := v1alpha1.DetectLocal{Mode: v1alpha1.DetectLocalMode(in.DetectLocalMode)}
	switch out.Mode {
	case "", v1alpha1.DetectClusterCIDR:
		out.Mode = v1alpha1.DetectClusterCIDR
		if in.ClusterCIDR != "" {
			out.ClusterCIDRs = strings.Split(in.ClusterCIDR, ",")
		}
	case v1alpha1.DetectBridgeInterface:
		out.Interface = in.DetectLocal.BridgeInterface
	case v1alpha1.DetectInterfaceNamePrefix:
		out.Interface = in.DetectLocal.InterfaceNamePrefix
	default: // Needs nothing, or is refused later.
	}
	return out
}

// perMode returns what each mode of kube-proxy's has fields of its own for. In mode ipvs
// it masquerades through iptables, and so by its fields.
func perMode(in *file) (v1alpha1.Masquerade, v1alpha1.Sync) {
	if inIPVS(in) {
		return v1alpha1.Masquerade{All: ifTrue(in.IPTables.MasqueradeAll), Bit: in.IPTables.MasqueradeBit},
			v1alpha1.Sync{Period: ifSet(in.IPVS.SyncPeriod), MinPeriod: ifSet(in.IPVS.MinSyncPeriod)}
	}
	return v1alpha1.Masquerade{All: ifTrue(in.NFTables.MasqueradeAll), Bit: in.NFTables.MasqueradeBit},
		v1alpha1.Sync{Period: ifSet(in.NFTables.SyncPeriod), MinPeriod: ifSet(in.NFTables.MinSyncPeriod)}
}

func ipvs(in *file) v1alpha1.IPVS {
	out := v1alpha1.IPVS{
		Scheduler: in.IPVS.Scheduler, StrictARP: ifTrue(in.IPVS.StrictARP),
		TCPTimeout: ifSet(in.IPVS.TCPTimeout), TCPFinTimeout: ifSet(in.IPVS.TCPFinTimeout), UDPTimeout: ifSet(in.IPVS.UDPTimeout),
	}
	if len(in.IPVS.ExcludeCIDRs) > 0 {
		out.ExcludeCIDRs = in.IPVS.ExcludeCIDRs
	}
	return out
}

// What kube-proxy sets where its configuration is silent, and we do not
// (pkg/proxy/apis/config/v1alpha1/defaults.go). 0 is no silence: it leaves the kernel alone.
const (
	conntrackMaxPerCore = 32 << 10
	conntrackMin        = 128 << 10
	conntrackTCPIdle    = 24 * time.Hour
	conntrackCloseWait  = time.Hour
)

func conntrack(in *file) v1alpha1.Conntrack {
	c := &in.Conntrack
	return v1alpha1.Conntrack{
		MaxPerCore: orDefault(c.MaxPerCore, conntrackMaxPerCore), Min: orDefault(c.Min, conntrackMin), TCPBeLiberal: ifTrue(c.TCPBeLiberal),
		TCPEstablishedTimeout: present(orDefault(c.TCPEstablishedTimeout, metav1.Duration{Duration: conntrackTCPIdle})),
		TCPCloseWaitTimeout:   present(orDefault(c.TCPCloseWaitTimeout, metav1.Duration{Duration: conntrackCloseWait})),
		UDPTimeout:            ifSet(c.UDPTimeout), UDPStreamTimeout: ifSet(c.UDPStreamTimeout),
	}
}

func orDefault[T any](set *T, otherwise T) *T {
	if set == nil {
		return &otherwise
	}
	return set
}

func ifTrue(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

func ifSet(d metav1.Duration) *v1alpha1.Duration {
	if d.Duration == 0 {
		return nil
	}
	return present(&d)
}

func present(d *metav1.Duration) *v1alpha1.Duration {
	if d == nil {
		return nil
	}
	out := v1alpha1.Duration(d.Duration)
	return &out
}
