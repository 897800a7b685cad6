// Package proxyconfig reads kube-proxy's own configuration file
// (kubeproxy.config.k8s.io/v1alpha1) as the configuration of the nodes.
//
// It is decoded with kube-proxy's types and strictly: a misspelt field or a
// duplicate key is an error, not a silent default.
package proxyconfig

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
)

// Config is a kube-proxy configuration in our terms.
type Config struct {
	Settings compile.Settings
	// Warnings say which fields have no effect, and why.
	Warnings []string
}

// Decode decodes a configuration. Fields that are left out have kube-proxy's
// defaults.
func Decode(content []byte) (Config, error) {
	var file kubeproxyv1alpha1.KubeProxyConfiguration
	if err := unmarshalStrict(content, &file); err != nil {
		return Config{}, err
	}
	const kind = "KubeProxyConfiguration"
	if want := kubeproxyv1alpha1.SchemeGroupVersion.String(); file.APIVersion != want || file.Kind != kind {
		return Config{}, fmt.Errorf("apiVersion %q, kind %q: expected %q, %q", file.APIVersion, file.Kind, want, kind)
	}
	return convert(&file)
}

// unmarshalStrict knows upper from lower case, as the API server does.
func unmarshalStrict(content []byte, into any) error {
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return fmt.Errorf("expected YAML: %w", err)
	}
	strict, err := json.UnmarshalStrict(asJSON, into)
	return errors.Join(append(strict, err)...)
}

func convert(file *kubeproxyv1alpha1.KubeProxyConfiguration) (Config, error) {
	config := Config{Settings: compile.DefaultSettings()}
	for _, step := range []func(*kubeproxyv1alpha1.KubeProxyConfiguration, *Config) error{mode, bindAddress, nodePorts, detectLocal, masquerade, periods, ipvs, conntrack, featureGates, ineffective, limits} {
		if err := step(file, &config); err != nil {
			return Config{}, err
		}
	}
	return config, nil
}

func mode(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	switch file.Mode {
	case "", "nftables":
	case "iptables":
		config.Warnings = append(config.Warnings, `mode "iptables": Portolan has no iptables data plane; nftables is used`)
	case "ipvs":
		config.Settings.Mode = discoveryv1.ProxyMode_PROXY_MODE_IPVS
	default:
		return fmt.Errorf("mode %q: expected nftables or ipvs", file.Mode)
	}
	return nil
}

// bindAddress chooses the nodes' primary family, if it chooses anything.
func bindAddress(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	if file.BindAddress == "" {
		return nil
	}
	addr, err := netip.ParseAddr(file.BindAddress)
	if err != nil || addr.Zone() != "" {
		return fmt.Errorf("bindAddress %q: expected an IP address such as 0.0.0.0", file.BindAddress)
	}
	switch addr = addr.Unmap(); {
	case addr.IsUnspecified():
	case addr.Is6():
		config.Settings.Primary = compile.PrimaryIPv6
	default:
		config.Settings.Primary = compile.PrimaryIPv4
	}
	return nil
}

func nodePorts(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	if len(file.NodePortAddresses) == 0 {
		return nil
	}
	if slices.Contains(file.NodePortAddresses, compile.PrimaryNodePortAddresses) {
		if len(file.NodePortAddresses) > 1 {
			return fmt.Errorf("nodePortAddresses %q: expected %q alone, or CIDRs", file.NodePortAddresses, compile.PrimaryNodePortAddresses)
		}
		return nil
	}
	cidrs, err := prefixes("nodePortAddresses", file.NodePortAddresses)
	if err != nil {
		return err
	}
	config.Settings.NodePortAddresses = nil
	for i, cidr := range cidrs {
		if cidr.Addr().IsLoopback() {
			config.Warnings = append(config.Warnings, fmt.Sprintf("nodePortAddresses[%d] %q: node ports are never served on loopback addresses", i, cidr))
		}
		config.Settings.NodePortAddresses = append(config.Settings.NodePortAddresses, cidr.String())
	}
	return nil
}

func prefixes(field string, texts []string) ([]netip.Prefix, error) {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %q: expected a CIDR such as 10.0.0.0/8", field, i, text)
		}
		list[i] = p.Masked()
	}
	return list, nil
}

func detectLocal(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	switch file.DetectLocalMode {
	case "", "ClusterCIDR":
		config.Settings.DetectLocal = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR
		return clusterCIDRs(file.ClusterCIDR, config)
	case "NodeCIDR":
		config.Settings.DetectLocal = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR
	case "BridgeInterface":
		return detectInterface("detectLocal.bridgeInterface", file.DetectLocal.BridgeInterface,
			discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, config)
	case "InterfaceNamePrefix":
		return detectInterface("detectLocal.interfaceNamePrefix", file.DetectLocal.InterfaceNamePrefix,
			discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX, config)
	default:
		return fmt.Errorf("detectLocalMode %q: expected ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix", file.DetectLocalMode)
	}
	return nil
}

func detectInterface(field, name string, mode discoveryv1.DetectLocalMode, config *Config) error {
	const longest = 15 // IFNAMSIZ without its zero byte.
	if name == "" || len(name) > longest {
		return fmt.Errorf("%s %q: expected 1 to %d characters", field, name, longest)
	}
	config.Settings.DetectLocal, config.Settings.Interface = mode, name
	return nil
}

func clusterCIDRs(list string, config *Config) error {
	if list == "" {
		config.Warnings = append(config.Warnings, "clusterCIDR is empty: no traffic is known to come from pods, and none is masqueraded for it")
		return nil
	}
	cidrs, err := prefixes("clusterCIDR", strings.Split(list, ","))
	if err != nil {
		return err
	}
	families := map[bool]int{}
	for _, cidr := range cidrs {
		if families[cidr.Addr().Is6()]++; families[cidr.Addr().Is6()] > 1 {
			return fmt.Errorf("clusterCIDR %q: expected at most one CIDR of each family", list)
		}
	}
	config.Settings.ClusterCIDRs = cidrs
	return nil
}

func masquerade(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	field, bit, all := "nftables.masqueradeBit", file.NFTables.MasqueradeBit, file.NFTables.MasqueradeAll
	if config.Settings.Mode == discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		field, bit, all = "iptables.masqueradeBit", file.IPTables.MasqueradeBit, file.IPTables.MasqueradeAll
	}
	config.Settings.MasqueradeAll = all
	if bit == nil {
		return nil
	}
	if *bit < 0 || *bit > 31 {
		return fmt.Errorf("%s %d: expected 0 to 31", field, *bit)
	}
	config.Settings.MasqueradeBit = uint32(*bit)
	return nil
}

func periods(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	field, sync, least := "nftables", file.NFTables.SyncPeriod.Duration, file.NFTables.MinSyncPeriod.Duration
	if config.Settings.Mode == discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		field, sync, least = "ipvs", file.IPVS.SyncPeriod.Duration, file.IPVS.MinSyncPeriod.Duration
	}
	if sync < 0 || least < 0 {
		return fmt.Errorf("%s.syncPeriod %s, minSyncPeriod %s: expected durations of at least 0s", field, sync, least)
	}
	if sync > 0 {
		config.Settings.SyncPeriod = sync
	}
	if least > 0 {
		config.Settings.MinSyncPeriod = least
	}
	if config.Settings.MinSyncPeriod > config.Settings.SyncPeriod {
		return fmt.Errorf("%s.minSyncPeriod %s: expected at most syncPeriod, %s", field, config.Settings.MinSyncPeriod, config.Settings.SyncPeriod)
	}
	return nil
}

func ipvs(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	if config.Settings.Mode != discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		return nil
	}
	for field, d := range map[string]time.Duration{"tcpTimeout": file.IPVS.TCPTimeout.Duration, "tcpFinTimeout": file.IPVS.TCPFinTimeout.Duration, "udpTimeout": file.IPVS.UDPTimeout.Duration} {
		if d < 0 {
			return fmt.Errorf("ipvs.%s %s: expected at least 0s", field, d)
		}
	}
	if _, err := prefixes("ipvs.excludeCIDRs", file.IPVS.ExcludeCIDRs); err != nil {
		return err
	}
	config.Settings.IPVS = &discoveryv1.Ipvs{
		Scheduler: file.IPVS.Scheduler, StrictArp: file.IPVS.StrictARP, ExcludeCidrs: file.IPVS.ExcludeCIDRs,
		TcpTimeout:    durationpb.New(file.IPVS.TCPTimeout.Duration),
		TcpFinTimeout: durationpb.New(file.IPVS.TCPFinTimeout.Duration),
		UdpTimeout:    durationpb.New(file.IPVS.UDPTimeout.Duration),
	}
	return nil
}

func conntrack(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	c := file.Conntrack
	settings := &discoveryv1.Conntrack{TcpBeLiberal: c.TCPBeLiberal}
	for field, target := range map[string]struct {
		from *int32
		to   *uint32
	}{"maxPerCore": {c.MaxPerCore, &settings.MaxPerCore}, "min": {c.Min, &settings.Min}} {
		if target.from == nil {
			continue
		}
		if *target.from < 0 {
			return fmt.Errorf("conntrack.%s %d: expected at least 0", field, *target.from)
		}
		*target.to = uint32(*target.from)
	}
	for field, target := range map[string]struct {
		from *metav1.Duration
		to   **durationpb.Duration
	}{
		"tcpEstablishedTimeout": {c.TCPEstablishedTimeout, &settings.TcpEstablishedTimeout},
		"tcpCloseWaitTimeout":   {c.TCPCloseWaitTimeout, &settings.TcpCloseWaitTimeout},
		"udpTimeout":            {&c.UDPTimeout, &settings.UdpTimeout},
		"udpStreamTimeout":      {&c.UDPStreamTimeout, &settings.UdpStreamTimeout},
	} {
		if target.from == nil || target.from.Duration == 0 {
			continue
		}
		if target.from.Duration < 0 {
			return fmt.Errorf("conntrack.%s %s: expected at least 0s", field, target.from.Duration)
		}
		*target.to = durationpb.New(target.from.Duration)
	}
	config.Settings.Conntrack = settings
	return nil
}

// featureGates reads the one gate that decides about packets; others are those of
// kube-proxy's own code.
func featureGates(file *kubeproxyv1alpha1.KubeProxyConfiguration, config *Config) error {
	const externalIPs = "AllowServiceExternalIPs"
	for _, gate := range slices.Sorted(maps.Keys(file.FeatureGates)) {
		if gate != externalIPs {
			config.Warnings = append(config.Warnings, fmt.Sprintf("featureGates.%s has no effect", gate))
			continue
		}
		config.Settings.IgnoreExternalIPs = !file.FeatureGates[gate]
	}
	return nil
}
