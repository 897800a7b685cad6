package nodecheck

import (
	"strings"

	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/api/resource"
)

func (n *node) kernelChecks() []check.Check {
	list := []check.Check{
		looksAt(check.Always, "kernel-version", "the kernel is one that Portolan was tested on", n.kernelVersion),
		looksAt(check.Always, "kernel-ipv6", "the node has IPv6", n.ipv6),
	}
	for _, probe := range nftables.Probes() {
		list = append(list, looksAt(check.Always, "kernel-nft-"+probe.Name, probe.Title, func() check.Finding { return n.probe(probe.Name, probe.Needs) }))
	}
	return append(list,
		looksAt(check.Always, "kernel-conntrack", "connections can be listed and ended", func() check.Finding {
			return n.probe(probeConntrack, "CONFIG_NF_CT_NETLINK (modprobe nf_conntrack_netlink)")
		}),
		looksAt(check.Always, "kernel-ipvs", "the kernel has IPVS, for mode ipvs", n.ipvs(probeIPVS, "CONFIG_IP_VS (modprobe ip_vs), or mode nftables")),
		looksAt(check.Always, "kernel-ipvs-schedulers", "IPVS has every scheduler, for mode ipvs", n.schedulers),
		looksAt(check.Always, "kernel-dummy", "the kernel has interfaces of type dummy, for mode ipvs", n.ipvs(probeDummy, "CONFIG_DUMMY (modprobe dummy)")))
}

// probe says what became of a probe.
func (n *node) probe(name, needs string) check.Finding {
	probed, err := n.probed()
	if err != nil {
		return check.Skipped("the kernel cannot be probed: %s", check.OneLine(err)).Do("Run this as root, or as a user who may have namespaces.")
	}
	refused, tried := probed[name]
	switch {
	case !tried:
		return check.Skipped("the probe %s was not made", name)
	case refused != "":
		return check.Failed("the kernel refused: %s: expected %s", refused, needs).Do("Load the module, also at boot (/etc/modules-load.d), or use a kernel that has it.")
	default:
		return check.Passed("tried in a namespace of its own")
	}
}

// ipvs is probe for what mode ipvs alone needs.
func (n *node) ipvs(name, needs string) func() check.Finding {
	return func() check.Finding {
		if !n.IPVS {
			return check.Skipped("needed in mode ipvs alone (--mode ipvs looks at it)")
		}
		return n.probe(name, needs)
	}
}

// schedulers looks for what Services may ask for by annotation. The default must be there.
func (n *node) schedulers() check.Finding {
	if found := n.ipvs(probeIPVS, "CONFIG_IP_VS (modprobe ip_vs)")(); found.Outcome != check.Pass {
		return found
	}
	probed, _ := n.probed()
	return judgeSchedulers(probed[probeSchedulers])
}

func judgeSchedulers(missing string) check.Finding {
	if missing == "" {
		return check.Passed("the kernel has %s", strings.Join(resource.Schedulers, ", "))
	}
	list := strings.Split(missing, ", ")
	advice := "modprobe ip_vs_" + strings.Join(list, " ip_vs_")
	if list[0] == resource.Schedulers[0] {
		return check.Failed("the kernel has no IPVS scheduler %s: expected the default, rr, at least", missing).Do("%s", advice)
	}
	return check.Warned("the kernel has no IPVS scheduler %s: expected those that Services ask for", missing).Do("%s", advice)
}

func (n *node) kernelVersion() check.Finding {
	release, err := n.read("proc/sys/kernel/osrelease")
	if err != nil {
		return check.Skipped("the kernel's version cannot be read: %v", err)
	}
	return check.Kernel(release)
}

func (n *node) ipv6() check.Finding {
	if n.hasIPv6() {
		return check.Passed("the node has IPv4 and IPv6")
	}
	return check.Warned("the node has no IPv6: IPv6 addresses of Services are not served on it").
		Do("Nothing, in a cluster without IPv6. Else boot without ipv6.disable=1, and set net.ipv6.conf.all.disable_ipv6 to 0.")
}
