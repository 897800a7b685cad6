package nftables

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

const (
	servicesChain     = "services"
	localTrafficChain = "local-traffic"
	firewallChain     = "firewall"
	guardChain        = "guard"
	rejectChain       = "reject"
	localStickChain   = "local-affinity"

	// outsideChain is there beside IPVS.
	outsideChain = "guard-outside"
)

// layoutVersion changes whenever sets or the meaning of their elements change. Other chains
// and rules need no other version.
const layoutVersion = 6

// readyPicks is up to which number of backends pick chains are made in advance:
// to add one later makes the kernel walk the whole endpoint map.
const readyPicks = 16

// chainSpec is a chain of the skeleton with its rules.
type chainSpec struct {
	name     string
	base     bool
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
	rules    [][]expr.Any
}

// skeleton returns the fixed chains of a family, called ones before callers.
func (f *family) skeleton(settings dataplane.Settings) []chainSpec {
	if settings.IPVS != nil {
		return f.besideIPVS(settings)
	}
	bit := uint32(1) << settings.MasqueradeBit
	const nat, filter = nftables.ChainTypeNAT, nftables.ChainTypeFilter
	return []chainSpec{
		regular(rejectChain, f.rejectRules()...),
		regular(firewallChain, f.firewallRule()),
		regular(localTrafficChain, f.localTrafficRules(settings, bit)...),
		regular(servicesChain, f.servicesRules(settings, bit)...),
		regular(localStickChain, f.localStickRules(settings)...),
		regular(guardChain, f.guardRules()...),
		base("firewall-prerouting", filter, nftables.ChainHookPrerouting, -110, ifNew(firewallChain)),
		base("firewall-output", filter, nftables.ChainHookOutput, -110, ifNew(firewallChain)),
		base("nat-prerouting", nat, nftables.ChainHookPrerouting, -100, always(servicesChain)),
		base("nat-output", nat, nftables.ChainHookOutput, -100, always(servicesChain)),
		base("filter-input", filter, nftables.ChainHookInput, 0, ifNew(guardChain)),
		base("filter-forward", filter, nftables.ChainHookForward, 0, append(dropInvalid(settings), ifNew(guardChain))...),
		base("filter-output", filter, nftables.ChainHookOutput, 0, ifNew(guardChain)),
		base("nat-postrouting", nat, nftables.ChainHookPostrouting, 100, f.postroutingRules(bit)...),
	}
}

func regular(name string, rules ...[]expr.Any) chainSpec { return chainSpec{name: name, rules: rules} }

func base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority, rules ...[]expr.Any) chainSpec {
	return chainSpec{name: name, base: true, kind: kind, hook: hook, priority: priority, rules: rules}
}

func ifNew(chain string) []expr.Any  { return rule(isNew(), one(verdict(expr.VerdictJump, chain))) }
func always(chain string) []expr.Any { return one(verdict(expr.VerdictJump, chain)) }

// firewallRule drops connections from sources that a frontend's ranges do not let in.
func (f *family) firewallRule() []expr.Any {
	return rule(f.frontend(), one(in(firewallIPs)), one(f.saddr(f.afterFrontend())), one(notIn(firewallAllow)), one(verdict(expr.VerdictDrop, "")))
}

func (f *family) servicesRules(settings dataplane.Settings, bit uint32) [][]expr.Any {
	var rules [][]expr.Any
	if notPod, some := f.notFromPod(settings); some {
		rules = append(rules, rule([]expr.Any{f.daddr(firstRegister), in(clusterIPs)}, notPod, orMark(bit)))
	}
	return append(rules,
		rule(f.frontend(), one(in(masqueradeIPs)), orMark(bit)),
		rule(f.frontend(), one(in(localIPs)), one(verdict(expr.VerdictJump, localTrafficChain))),
		f.stick(affinity),
		rule(f.frontend(), one(vmap(serviceIPs))),
	)
}

// stick sends a client that is remembered to its backend.
func (f *family) stick(memory string) []expr.Any {
	return rule(f.frontend(), one(in(affinityIPs)), one(f.saddr(f.afterFrontend())), f.dnatTo(memory))
}

func (f *family) localTrafficRules(settings dataplane.Settings, bit uint32) [][]expr.Any {
	rules := f.fromPod(settings)
	return append(rules,
		rule(sourceIsLocal(), orMark(bit)),
		rule(sourceIsLocal(), one(verdict(expr.VerdictReturn, ""))),
		f.stick(localAffinity),
		rule(f.frontend(), one(vmap(localServiceIPs))),
		one(verdict(expr.VerdictAccept, "")),
	)
}

// localStickRules remember those who came by local-traffic, as that chain tells them
// apart: what they may stick to is less than what this node's own may.
func (f *family) localStickRules(settings dataplane.Settings) [][]expr.Any {
	return append(f.fromPod(settings),
		rule(sourceIsLocal(), one(verdict(expr.VerdictReturn, ""))),
		rule(f.originalFrontend(), one(vmap(localAffinityTimeouts))),
	)
}

func (f *family) guardRules() [][]expr.Any {
	return [][]expr.Any{
		rule(isDNATed(), f.originalFrontend(), one(in(localIPs)), one(verdict(expr.VerdictJump, localStickChain))),
		rule(isDNATed(), f.originalFrontend(), one(vmap(affinityTimeouts))),
		rule(f.frontend(), one(vmap(noEndpointIPs))),
		{f.daddr(firstRegister), in(clusterIPs), verdict(expr.VerdictGoto, rejectChain)},
		{f.daddr(firstRegister), in(serviceCIDRs), verdict(expr.VerdictDrop, "")},
	}
}

func (f *family) postroutingRules(bit uint32) [][]expr.Any {
	return [][]expr.Any{
		rule(markIs(bit), clearMark(bit), one(masquerade())),
		rule(isDNATed(), f.hairpinKey(), []expr.Any{in(hairpin), masquerade()}),
	}
}

// hairpinKey loads what the set hairpin is looked up by.
func (f *family) hairpinKey() []expr.Any {
	n := f.addrRegisters()
	return []expr.Any{f.saddr(firstRegister), f.daddr(firstRegister + n), l4proto(firstRegister + 2*n), dport(firstRegister + 2*n + 1)}
}

func isTCP() []expr.Any {
	return []expr.Any{l4proto(1), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}}}
}

// dropInvalid drops TCP packets that conntrack finds invalid. It does not undo
// their translation, so a client would see an answer from an endpoint that it has
// never heard of, and reset its connection (kubernetes/kubernetes issue 74839).
func dropInvalid(settings dataplane.Settings) [][]expr.Any {
	if settings.TCPBeLiberal {
		return nil
	}
	return [][]expr.Any{rule(
		isTCP(),
		ctBits(expr.CtKeySTATE, expr.CtStateBitINVALID), one(verdict(expr.VerdictDrop, "")))}
}

// rejectRules refuse so that a client notices at once. A TCP reset is used for
// TCP because ICMP errors are rate-limited per peer (net.ipv4.icmp_ratelimit).
func (f *family) rejectRules() [][]expr.Any {
	const icmpPortUnreachable, icmpv6PortUnreachable = 3, 4
	code := uint8(icmpPortUnreachable)
	if f.is6 {
		code = icmpv6PortUnreachable
	}
	return [][]expr.Any{
		{l4proto(1), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}},
		{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}},
	}
}

// notFromPod matches packets that are not from this node's pods, as far as that
// is to be masqueraded. It returns false if nothing is.
func (f *family) notFromPod(settings dataplane.Settings) ([]expr.Any, bool) {
	if settings.MasqueradeAll {
		return nil, true
	}
	switch settings.Detect {
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR:
		cidrs := f.own(settings.DetectCIDRs)
		var list []expr.Any
		for _, cidr := range cidrs {
			list = append(list, f.sourceIn(expr.CmpOpNeq, cidr)...)
		}
		return list, len(cidrs) > 0
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX:
		return inputInterface(expr.CmpOpNeq, settings), true
	default:
		return nil, false
	}
}

// fromPod returns the rules that return for packets from this node's pods.
func (f *family) fromPod(settings dataplane.Settings) [][]expr.Any {
	giveBack := one(verdict(expr.VerdictReturn, ""))
	switch settings.Detect {
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR:
		var rules [][]expr.Any
		for _, cidr := range f.own(settings.DetectCIDRs) {
			rules = append(rules, rule(f.sourceIn(expr.CmpOpEq, cidr), giveBack))
		}
		return rules
	case discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX:
		return [][]expr.Any{rule(inputInterface(expr.CmpOpEq, settings), giveBack)}
	default:
		return nil
	}
}

// inputInterface compares the input interface with the configured name, which is
// padded with zeros, or with the prefix, which is not.
func inputInterface(op expr.CmpOp, settings dataplane.Settings) []expr.Any {
	data := []byte(settings.DetectInterface)
	if settings.Detect == discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE {
		padded := make([]byte, unix.IFNAMSIZ)
		copy(padded, data)
		data = padded
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: data},
	}
}

// own returns the prefixes of the family.
func (f *family) own(prefixes []netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range prefixes {
		if p.Addr().Is6() == f.is6 {
			list = append(list, p)
		}
	}
	return list
}

// dynsetDelete is NFT_DYNSET_OP_DELETE of linux/netfilter/nf_tables.h.
const dynsetDelete = 2

// affinityRules check and refresh what is remembered of a client. A client that
// was sent to an endpoint which is no longer valid is forgotten, and its packet
// dropped: the retransmission chooses anew.
func (f *family) affinityRules(timeout time.Duration, memory, valid string) [][]expr.Any {
	client, backend := f.afterFrontend(), f.afterFrontend()+f.addrRegisters()
	remember := func(operation uint32, timeout time.Duration) []expr.Any {
		return rule(one(f.saddr(client)), f.backend(backend), one(&expr.Dynset{
			SrcRegKey: firstRegister, SrcRegData: backend, SetName: memory, Operation: operation, Timeout: timeout,
		}))
	}
	return [][]expr.Any{
		rule(f.originalFrontend(), f.backend(client), one(notIn(valid)),
			remember(dynsetDelete, 0), one(verdict(expr.VerdictDrop, ""))),
		rule(f.originalFrontend(), remember(unix.NFT_DYNSET_OP_UPDATE, timeout)),
	}
}

// fingerprint identifies the skeleton that settings give, rules included.
func fingerprint(settings dataplane.Settings) string {
	return fmt.Sprint(layoutVersion, useOf(settings), settings.Detect, settings.DetectCIDRs, settings.DetectInterface, settings.MasqueradeAll, settings.MasqueradeBit, settings.TCPBeLiberal)
}
