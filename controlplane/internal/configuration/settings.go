package configuration

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/near"
)

const modeNames = "nftables or ipvs"

var (
	modes = map[v1alpha1.Mode]discoveryv1.ProxyMode{
		v1alpha1.ModeNFTables: discoveryv1.ProxyMode_PROXY_MODE_NFTABLES,
		v1alpha1.ModeIPVS:     discoveryv1.ProxyMode_PROXY_MODE_IPVS,
	}
	families = map[v1alpha1.Family]compile.PrimaryFamily{
		"": compile.PrimaryOfNode, v1alpha1.IPv4: compile.PrimaryIPv4, v1alpha1.IPv6: compile.PrimaryIPv6,
	}
	detectors = map[v1alpha1.DetectLocalMode]discoveryv1.DetectLocalMode{
		v1alpha1.DetectClusterCIDR:         discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR,
		v1alpha1.DetectNodeCIDR:            discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR,
		v1alpha1.DetectBridgeInterface:     discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE,
		v1alpha1.DetectInterfaceNamePrefix: discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX,
	}
)

func isMode(mode v1alpha1.Mode) bool { return modes[mode] != 0 }

// settings checks and converts settings in which nothing is left out.
func (c *check) settings(in v1alpha1.NodeSettings) compile.Settings {
	out := compile.Settings{
		LocalhostNodePorts: *in.LocalhostNodePorts, MasqueradeAll: *in.Masquerade.All,
		NodePortAddresses: c.nodePortAddresses(in.NodePortAddresses),
		MasqueradeBit:     c.markBit(*in.Masquerade.Bit),
		Conntrack:         c.conntrack(in.Conntrack),
	}
	var known bool
	if out.Mode, known = modes[in.Mode]; !known {
		c.fail("mode", string(in.Mode), "expected %s", modeNames)
	}
	if out.Primary, known = families[in.PrimaryFamily]; !known {
		c.fail("primaryFamily", string(in.PrimaryFamily), "expected IPv4 or IPv6")
	}
	c.detectLocal(in.DetectLocal, &out)
	c.sync(in.Sync, &out)
	// What is wrong is wrong, in whatever mode.
	if ipvs := c.ipvs(in.IPVS); in.Mode == v1alpha1.ModeIPVS {
		out.IPVS = ipvs
	}
	return out
}

func (c *check) nodePortAddresses(in []string) []string {
	const field = "nodePortAddresses"
	if len(in) == 0 {
		return v1alpha1.Defaults().NodePortAddresses
	}
	if slices.Contains(in, compile.PrimaryNodePortAddresses) {
		if len(in) > 1 {
			c.fail(field, strings.Join(in, ","), "expected %q alone, or CIDRs", compile.PrimaryNodePortAddresses)
		}
		return in
	}
	var out []string
	for i, cidr := range c.prefixes(field, in) {
		if cidr.Addr().IsLoopback() {
			c.warn(fmt.Sprintf("%s[%d]", field, i), cidr.String(), "node ports are never served on loopback addresses by rules; localhostNodePorts has the agent do so")
		}
		out = append(out, cidr.String())
	}
	return out
}

func (c *check) prefixes(field string, texts []string) []netip.Prefix {
	var list []netip.Prefix
	for i, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			c.fail(fmt.Sprintf("%s[%d]", field, i), text, "expected a CIDR such as 10.0.0.0/8")
			continue
		}
		list = append(list, p.Masked())
	}
	return list
}

func (c *check) markBit(bit int32) uint32 {
	const highest = 31
	if bit < 0 || bit > highest {
		c.fail("masquerade.bit", strconv.Itoa(int(bit)), "expected 0 to %d", highest)
		return 0
	}
	return uint32(bit)
}

func (c *check) detectLocal(in v1alpha1.DetectLocal, out *compile.Settings) {
	var known bool
	if out.DetectLocal, known = detectors[in.Mode]; !known {
		c.fail("detectLocal.mode", string(in.Mode), "expected ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")
	}
	switch in.Mode {
	case v1alpha1.DetectClusterCIDR:
		out.ClusterCIDRs = c.clusterCIDRs(in.ClusterCIDRs)
	case v1alpha1.DetectBridgeInterface, v1alpha1.DetectInterfaceNamePrefix:
		const longest = 15 // IFNAMSIZ without its zero byte.
		if out.Interface = in.Interface; in.Interface == "" || len(in.Interface) > longest {
			c.fail("detectLocal.interface", in.Interface, "expected 1 to %d characters", longest)
		}
	default: // Needs nothing, or is refused above.
	}
}

func (c *check) clusterCIDRs(in []string) []netip.Prefix {
	const field = "detectLocal.clusterCIDRs"
	if len(in) == 0 {
		c.warn(field, "", "nothing is set: no traffic is known to come from pods, and none is masqueraded for it")
	}
	cidrs := c.prefixes(field, in)
	families := map[bool]bool{}
	for _, cidr := range cidrs {
		if families[cidr.Addr().Is6()] {
			c.fail(field, strings.Join(in, ","), "expected at most one CIDR of each family")
		}
		families[cidr.Addr().Is6()] = true
	}
	return cidrs
}

func (c *check) sync(in v1alpha1.Sync, out *compile.Settings) {
	out.SyncPeriod, out.MinSyncPeriod = time.Duration(*in.Period), time.Duration(*in.MinPeriod)
	switch {
	case out.SyncPeriod <= 0:
		c.fail("sync.period", out.SyncPeriod.String(), "expected more than 0s")
	case out.MinSyncPeriod < 0:
		c.fail("sync.minPeriod", out.MinSyncPeriod.String(), "expected at least 0s")
	case out.MinSyncPeriod > out.SyncPeriod:
		c.fail("sync.minPeriod", out.MinSyncPeriod.String(), "expected at most the period, %s", out.SyncPeriod)
	}
}

func (c *check) ipvs(in v1alpha1.IPVS) *discoveryv1.Ipvs {
	if !slices.Contains(resource.Schedulers, in.Scheduler) {
		c.fail("ipvs.scheduler", in.Scheduler, "expected one of %s%s", strings.Join(resource.Schedulers, " "), near.Hint(in.Scheduler, resource.Schedulers))
	}
	c.prefixes("ipvs.excludeCIDRs", in.ExcludeCIDRs)
	return &discoveryv1.Ipvs{
		Scheduler: in.Scheduler, StrictArp: *in.StrictARP, ExcludeCidrs: in.ExcludeCIDRs,
		TcpTimeout:    durationpb.New(c.timeout("ipvs.tcpTimeout", in.TCPTimeout)),
		TcpFinTimeout: durationpb.New(c.timeout("ipvs.tcpFinTimeout", in.TCPFinTimeout)),
		UdpTimeout:    durationpb.New(c.timeout("ipvs.udpTimeout", in.UDPTimeout)),
	}
}

// conntrack returns nil if nothing is set.
func (c *check) conntrack(in v1alpha1.Conntrack) *discoveryv1.Conntrack {
	timeout := func(field string, d *v1alpha1.Duration) *durationpb.Duration {
		if kept := c.timeout("conntrack."+field, d); kept > 0 {
			return durationpb.New(kept)
		}
		return nil
	}
	out := &discoveryv1.Conntrack{
		MaxPerCore: c.natural("conntrack.maxPerCore", *in.MaxPerCore), Min: c.natural("conntrack.min", *in.Min),
		TcpEstablishedTimeout: timeout("tcpEstablishedTimeout", in.TCPEstablishedTimeout),
		TcpCloseWaitTimeout:   timeout("tcpCloseWaitTimeout", in.TCPCloseWaitTimeout),
		UdpTimeout:            timeout("udpTimeout", in.UDPTimeout),
		UdpStreamTimeout:      timeout("udpStreamTimeout", in.UDPStreamTimeout),
		TcpBeLiberal:          *in.TCPBeLiberal,
	}
	if proto.Equal(out, &discoveryv1.Conntrack{}) {
		return nil
	}
	return out
}

// longestTimeout is what no kernel goes beyond: it counts in ticks, of which there are
// at least 100 a second, in 31 bits (net/netfilter/ipvs/ip_vs_ctl.c, kernel/sysctl.c). One
// with more ticks takes less, and the node says so.
const longestTimeout = math.MaxInt32 / 100 * time.Second

// timeout returns a timeout of the kernel's, which takes whole seconds: less than one
// would be none.
func (c *check) timeout(field string, in *v1alpha1.Duration) time.Duration {
	d := time.Duration(*in)
	switch {
	case d < 0:
		c.fail(field, d.String(), "expected at least 0s")
	case d > 0 && d < time.Second:
		c.fail(field, d.String(), "expected 0s, which leaves it as it is, or at least 1s: the kernel takes whole seconds")
	case d > longestTimeout:
		c.fail(field, d.String(), "expected at most %s: no kernel takes more", longestTimeout)
	default:
		return d
	}
	return 0
}
