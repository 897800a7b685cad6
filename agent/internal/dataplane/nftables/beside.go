package nftables

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// Beside IPVS there is no translation here. Packets for Services are this node's own,
// because their addresses are bound to it, so they come by input, where IPVS takes new
// connections after all filters; those of this node's processes it takes in output, before
// the usual filters.
//
//	firewall   before anything else, as without IPVS
//	mark       marks what is to be masqueraded, before IPVS translates it
//	guard      lets through what IPVS has destinations for, and refuses the rest of what
//	           is for an address of Services, other ports included: else it would reach
//	           whatever listens on this node
//	postrouting masquerades

// beforeIPVS is the last priority in output before IPVS takes a connection
// (net/netfilter/ipvs/ip_vs_core.c: NF_IP_PRI_NAT_DST + 2).
const beforeIPVS = -99

// earlyGuardChain calls guard in output, before IPVS. (Chains of both modes have different
// names if they are of different types or are called by chains of different types:
// Linux 6.1 finds rules misplaced that are deleted in the same transaction.)
const earlyGuardChain = "guard-output"

// markChain marks what is to be masqueraded.
const markChain = "mark"

// besideIPVS returns the fixed chains of a family, called ones before callers.
func (f *family) besideIPVS(settings dataplane.Settings) []chainSpec {
	bit := uint32(1) << settings.MasqueradeBit
	const nat, filter = nftables.ChainTypeNAT, nftables.ChainTypeFilter
	return []chainSpec{
		regular(rejectChain, f.rejectRules()...),
		regular(firewallChain, f.firewallRule()),
		regular(markChain, f.markRules(settings, bit)...),
		regular(outsideChain, append(f.fromPod(settings),
			rule(sourceIsLocal(), one(verdict(expr.VerdictReturn, ""))),
			rule(f.frontend(), one(vmap(noEndpointIPs))))...),
		regular(guardChain,
			rule(f.frontend(), one(in(localIPs)), one(verdict(expr.VerdictJump, outsideChain))),
			rule(f.frontend(), []expr.Any{in(servedIPs), verdict(expr.VerdictAccept, "")}),
			rule(f.frontend(), one(vmap(noEndpointIPs))),
			[]expr.Any{f.daddr(firstRegister), in(clusterIPs), verdict(expr.VerdictGoto, rejectChain)},
			[]expr.Any{f.daddr(firstRegister), in(serviceCIDRs), verdict(expr.VerdictDrop, "")},
			rule(isTCP(), []expr.Any{dport(firstRegister), in(checkPorts), verdict(expr.VerdictReturn, "")}),
			[]expr.Any{f.daddr(firstRegister), in(outsideIPs), verdict(expr.VerdictGoto, rejectChain)},
		),
		base("firewall-prerouting", filter, nftables.ChainHookPrerouting, -110, ifNew(firewallChain)),
		base("firewall-output", filter, nftables.ChainHookOutput, -110, ifNew(firewallChain)),
		base("mark-prerouting", filter, nftables.ChainHookPrerouting, -100, ifNew(markChain)),
		base("mark-output", filter, nftables.ChainHookOutput, -100, ifNew(markChain)),
		base("filter-input", filter, nftables.ChainHookInput, 0, ifNew(guardChain)),
		base("filter-forward", filter, nftables.ChainHookForward, 0, append(dropInvalid(settings), ifNew(guardChain))...),
		base(earlyGuardChain, filter, nftables.ChainHookOutput, beforeIPVS, ifNew(guardChain)),
		base("nat-postrouting", nat, nftables.ChainHookPostrouting, 100, f.besidePostroutingRules(bit)...),
	}
}

// markRules mark new connections to Services that are to be masqueraded. What this node's
// processes send to an address of Services comes from that address, if nothing else says
// from where: it is bound to this node.
func (f *family) markRules(settings dataplane.Settings, bit uint32) [][]expr.Any {
	var rules [][]expr.Any
	if notPod, some := f.notFromPod(settings); some {
		rules = append(rules, rule([]expr.Any{f.daddr(firstRegister), in(clusterIPs)}, notPod, orMark(bit)))
	}
	return append(rules,
		rule(f.frontend(), one(in(masqueradeIPs)), orMark(bit)),
		rule([]expr.Any{f.saddr(firstRegister), in(clusterIPs)}, orMark(bit)),
		rule([]expr.Any{f.saddr(firstRegister), in(outsideIPs)}, orMark(bit)),
	)
}

// besidePostroutingRules masquerade what is marked, and an endpoint's connections to itself:
// others from its address to its port do not leave it.
func (f *family) besidePostroutingRules(bit uint32) [][]expr.Any {
	return [][]expr.Any{
		rule(markIs(bit), clearMark(bit), one(masquerade())),
		append(f.hairpinKey(), in(hairpin), masquerade()),
	}
}
