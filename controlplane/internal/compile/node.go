package compile

import (
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// PrimaryNodePortAddresses is the node-port address setting that stands for a
// Node's own addresses.
const PrimaryNodePortAddresses = "primary"

// Settings is what the operator configured for the nodes, in the vocabulary of
// KubeProxyConfiguration.
type Settings struct {
	Mode discoveryv1.ProxyMode
	// Primary is the family of the nodes' first addresses.
	Primary PrimaryFamily
	// NodePortAddresses is "primary" alone, or CIDRs.
	NodePortAddresses []string
	DetectLocal       discoveryv1.DetectLocalMode
	// ClusterCIDRs are the pod ranges of DETECT_LOCAL_MODE_CLUSTER_CIDR.
	ClusterCIDRs []netip.Prefix
	// Interface is the name or prefix of the interface modes.
	Interface     string
	MasqueradeAll bool
	MasqueradeBit uint32
	SyncPeriod    time.Duration
	// MinSyncPeriod is how long nodes let changes gather between two; zero means that
	// each goes to the kernel at once.
	MinSyncPeriod time.Duration
	IPVS          *discoveryv1.Ipvs
	Conntrack     *discoveryv1.Conntrack
	// LocalhostNodePorts has agents serve node ports on loopback addresses too.
	LocalhostNodePorts bool
	// IgnoreExternalIPs is the feature gate AllowServiceExternalIPs switched off.
	IgnoreExternalIPs bool
	// Groups have settings of their own for the nodes that they select.
	Groups []Group
}

// PrimaryFamily is the address family that comes first.
type PrimaryFamily uint8

// The primary families.
const (
	// PrimaryOfNode is that of the Node's first address.
	PrimaryOfNode PrimaryFamily = iota
	PrimaryIPv4
	PrimaryIPv6
)

// first returns the addresses with those of the primary family first.
func (p PrimaryFamily) first(ips []netip.Addr) []netip.Addr {
	if p == PrimaryOfNode {
		return ips
	}
	wants := func(a netip.Addr) bool { return a.Is6() == (p == PrimaryIPv6) }
	return slices.SortedStableFunc(slices.Values(ips), func(a, b netip.Addr) int { return compareBool(!wants(a), !wants(b)) })
}

// Allow returns a Service without what the settings do not allow it.
func (s Settings) Allow(service *model.Service) *model.Service {
	if service == nil || !s.IgnoreExternalIPs || len(service.ExternalIPs) == 0 {
		return service
	}
	restricted := *service
	restricted.ExternalIPs = nil
	return &restricted
}

// DefaultSettings are those of kube-proxy in nftables mode, except that without
// cluster CIDRs local traffic is recognised by the Node's own pod CIDRs, and that
// changes are not made to wait: one costs a node no more than what it changes.
func DefaultSettings() Settings {
	return Settings{
		Mode:              discoveryv1.ProxyMode_PROXY_MODE_NFTABLES,
		NodePortAddresses: []string{PrimaryNodePortAddresses},
		DetectLocal:       discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR,
		MasqueradeBit:     14,
		SyncPeriod:        30 * time.Second,
	}
}

// Node returns the NodeConfig of a Node. A nil Node has none.
func Node(node *model.Node, settings Settings) []snapshot.Scoped {
	if node == nil {
		return nil
	}
	return []snapshot.Scoped{{
		Scope: snapshot.Scope{Node: node.Name},
		Resource: &discoveryv1.Resource{
			Name: node.Name,
			Body: &discoveryv1.Resource_NodeConfig{NodeConfig: nodeConfig(node, settings.For(node))},
		},
	}}
}

func nodeConfig(node *model.Node, settings Settings) *discoveryv1.NodeConfig {
	return &discoveryv1.NodeConfig{
		Mode:              settings.Mode,
		Zone:              node.Zone,
		NodeIps:           texts(settings.Primary.first(node.IPs)),
		NodePortAddresses: settings.NodePortAddresses,
		DetectLocal:       detectLocal(node, settings),
		MasqueradeAll:     settings.MasqueradeAll,
		MasqueradeBit:     settings.MasqueradeBit,
		SyncPeriod:        durationpb.New(settings.SyncPeriod),
		MinSyncPeriod:     durationpb.New(settings.MinSyncPeriod),
		Ipvs:              settings.IPVS,
		Conntrack:         settings.Conntrack,
		Ineligible:        node.Ineligible,

		LocalhostNodePorts: settings.LocalhostNodePorts,
	}
}

// detectLocal resolves the detector for a node. A CIDR mode without CIDRs is no
// detector at all.
func detectLocal(node *model.Node, settings Settings) *discoveryv1.DetectLocal {
	detect := &discoveryv1.DetectLocal{Mode: settings.DetectLocal}
	switch settings.DetectLocal {
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR:
		detect.Cidrs = prefixTexts(settings.ClusterCIDRs)
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR:
		detect.Cidrs = prefixTexts(node.PodCIDRs)
	default:
		detect.Interface = settings.Interface
		return detect
	}
	if len(detect.Cidrs) == 0 {
		detect.Mode = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_UNSPECIFIED
	}
	return detect
}

// Cluster returns the ClusterConfig.
func Cluster(cidrs []*model.ServiceCIDR) []snapshot.Scoped {
	var all []netip.Prefix
	for _, cidr := range cidrs {
		all = append(all, cidr.CIDRs...)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Compare(b) })
	all = slices.Compact(all)
	return []snapshot.Scoped{{Resource: &discoveryv1.Resource{
		Name: resource.ClusterConfigName,
		Body: &discoveryv1.Resource_ClusterConfig{ClusterConfig: &discoveryv1.ClusterConfig{ServiceCidrs: prefixTexts(all)}},
	}}}
}
