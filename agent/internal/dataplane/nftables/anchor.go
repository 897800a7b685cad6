package nftables

import (
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// anchorChains are the anchor's. It decides nothing; its empty NAT chains and its one
// conntrack expression keep the kernel's NAT and conntrack hooks registered, so that
// established connections go on being translated while our table is replaced, or after
// somebody deleted it.
func anchorChains() []chainSpec {
	const nat, filter = nftables.ChainTypeNAT, nftables.ChainTypeFilter
	return []chainSpec{
		{name: "prerouting", base: true, kind: nat, hook: nftables.ChainHookPrerouting, priority: -100},
		{name: "input", base: true, kind: nat, hook: nftables.ChainHookInput, priority: 100},
		{name: "output", base: true, kind: nat, hook: nftables.ChainHookOutput, priority: -100},
		{name: "postrouting", base: true, kind: nat, hook: nftables.ChainHookPostrouting, priority: 100},
		{name: "conntrack", base: true, kind: filter, hook: nftables.ChainHookPrerouting, priority: 0,
			rules: [][]expr.Any{ctBits(expr.CtKeySTATE, expr.CtStateBitINVALID)}},
	}
}

// anchored tells whether the anchor is there as we make it.
func (p *Plane) anchored() bool {
	none := func(string) (chainSpec, bool) { return chainSpec{}, false }
	found, ok := p.compareChains(anchorName, anchorChains(), nil, none)
	return ok && found.exact()
}

// addAnchor queues the anchor table unless it is there.
func (p *Plane) addAnchor(tx *transaction) error {
	if p.anchored() && !p.distrusted {
		return nil
	}
	anchor := &nftables.Table{Family: p.family.number, Name: anchorName}
	has, err := p.hasTable(anchorName)
	if err != nil {
		return err
	}
	if has {
		tx.library().DelTable(anchor)
	}
	table := tx.library().AddTable(anchor)
	for _, spec := range anchorChains() {
		addChain(tx.library(), table, spec)
		addRules(tx.library(), table, spec)
	}
	return nil
}

// hasIPv6 tells whether the node has IPv6.
func hasIPv6() bool {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return false
	}
	disabled, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return err != nil || strings.TrimSpace(string(disabled)) != "1"
}
