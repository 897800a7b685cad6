package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Probes returns one for each feature that the layout uses, and at last the layout itself.
func Probes() []Probe {
	return append(setProbes(), append(expressionProbes(), hookProbes()...)...)
}

// filter and translate are chains with one rule, of their kinds.
func filter(rules ...[]expr.Any) []chainSpec {
	return []chainSpec{base("probe", nftables.ChainTypeFilter, nftables.ChainHookInput, 0, rules...)}
}

func translate(hook *nftables.ChainHook, priority nftables.ChainPriority, rules ...[]expr.Any) []chainSpec {
	return []chainSpec{base("probe", nftables.ChainTypeNAT, hook, priority, rules...)}
}

func setProbes() []Probe {
	return []Probe{
		{
			Name: "verdict-maps", Title: "the kernel has verdict maps", Needs: "CONFIG_NF_TABLES, Linux 5.6 or later",
			sets:   []string{serviceIPs},
			chains: func(f *family) []chainSpec { return filter(rule(f.frontend(), one(vmap(serviceIPs)))) },
		},
		{
			Name: "concatenations", Title: "the kernel has maps with concatenated keys and values", Needs: "CONFIG_NF_TABLES, Linux 5.6 or later",
			sets: []string{endpoints},
			chains: func(f *family) []chainSpec {
				return filter(rule(f.frontend(), []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: f.afterFrontend()},
					&expr.Lookup{SourceRegister: firstRegister, SetName: endpoints, DestRegister: firstRegister, IsDestRegSet: true}}))
			},
		},
		{
			Name: "intervals", Title: "the kernel has sets of ranges, also in concatenated keys", Needs: "CONFIG_NF_TABLES, Linux 5.6 or later (nft_set_pipapo)",
			sets: []string{firewallAllow, serviceCIDRs},
			chains: func(f *family) []chainSpec {
				return filter(rule(f.frontend(), []expr.Any{f.saddr(f.afterFrontend()), in(firewallAllow)}), []expr.Any{f.daddr(firstRegister), in(serviceCIDRs)})
			},
		},
		{
			Name: "timeouts", Title: "the kernel has maps that packets write to, with timeouts", Needs: "CONFIG_NF_TABLES, Linux 5.6 or later",
			sets:   []string{affinity, affinityEndpoints},
			chains: func(f *family) []chainSpec { return filter(f.affinityRules(time.Hour, affinity, affinityEndpoints)...) },
		},
		{
			Name: "names", Title: "the kernel takes names as long as ours", Needs: "Linux 4.14 or later",
			chains: func(*family) []chainSpec { return []chainSpec{regular(longestName)} },
		},
		{
			Name: "transactions", Title: "the kernel takes transactions of the size of a large cluster's", Needs: "enough net.core.wmem_max, or CAP_NET_ADMIN on the host",
			sets: []string{clusterIPs}, with: fill,
		},
		{
			Name: "generation", Title: "the kernel refuses a transaction that somebody else's has come before", Needs: "CONFIG_NF_TABLES, Linux 4.19 or later",
			with: refuseLate,
		},
	}
}

// longestName is that of the chain which counts the turns of an IPv6 frontend.
const longestName = localPrefix + turnPrefix + "2001-0db8-0000-0000-0000-0000-0000-0001-sctp-65535-1024"

// fill adds so many elements by one transaction that it has about a megabyte.
func fill(p *Plane, table *nftables.Table) error {
	const lists, length = 80, 256
	return p.send(func(tx *transaction) error {
		for i := range lists {
			elements := make([]nftables.SetElement, length)
			for j := range elements {
				elements[j].Key = make([]byte, p.family.addrLen)
				binary.BigEndian.PutUint32(elements[j].Key[p.family.addrLen-4:], uint32(i*length+j))
			}
			if err := tx.library().SetAddElements(p.family.specs[clusterIPs].set(table), elements); err != nil {
				return err
			}
		}
		return nil
	})
}

// refuseLate commits something as of a generation that there was never.
func refuseLate(p *Plane, table *nftables.Table) error {
	tx := &transaction{recorder: p.recorder}
	tx.library().AddChain(&nftables.Chain{Table: table, Name: "late"})
	if err := tx.settle(); err != nil {
		return err
	}
	switch err := p.socket.commit(noGeneration, tx.buffers); {
	case errors.Is(err, unix.ERESTART):
		return nil
	case err == nil:
		return errors.New("the kernel took a transaction as of another generation: expected that it refuses it")
	default:
		return err
	}
}

// noGeneration is not that of a namespace which is new.
const noGeneration = 1<<32 - 1

func expressionProbes() []Probe {
	numgen := func(kind uint32) func(*family) []chainSpec {
		return func(*family) []chainSpec {
			return filter(one(&expr.Numgen{Register: firstRegister, Modulus: readyPicks, Type: kind}))
		}
	}
	return []Probe{
		{Name: "numgen-random", Title: "the kernel draws at random", Needs: "CONFIG_NFT_NUMGEN (modprobe nft_numgen)", chains: numgen(unix.NFT_NG_RANDOM)},
		{Name: "numgen-inc", Title: "the kernel draws in turn", Needs: "CONFIG_NFT_NUMGEN (modprobe nft_numgen)", chains: numgen(unix.NFT_NG_INCREMENTAL)},
		{
			Name: "jhash", Title: "the kernel draws by a hash", Needs: "CONFIG_NFT_HASH (modprobe nft_hash)",
			chains: func(f *family) []chainSpec {
				return filter([]expr.Any{f.saddr(firstRegister), jhash(firstRegister, f.addrLen, readyPicks)})
			},
		},
		{
			Name: "ct", Title: "the kernel knows the state of connections", Needs: "CONFIG_NFT_CT (modprobe nft_ct) and nf_conntrack",
			chains: func(*family) []chainSpec { return filter(isNew(), isDNATed()) },
		},
		{
			Name: "ct-original", Title: "the kernel knows where a connection went before translation", Needs: "CONFIG_NFT_CT, Linux 4.17 or later",
			chains: func(f *family) []chainSpec { return filter(f.originalFrontend()) },
		},
		{
			Name: "fib", Title: "the kernel knows which addresses are the node's own", Needs: "CONFIG_NFT_FIB_IPV4 and CONFIG_NFT_FIB_IPV6 (modprobe nft_fib_ipv4 nft_fib_ipv6)",
			chains: func(*family) []chainSpec { return filter(sourceIsLocal()) },
		},
		{
			Name: "mark", Title: "the kernel sets bits of packet marks", Needs: "CONFIG_NF_TABLES",
			chains: func(*family) []chainSpec { return filter(orMark(1<<14), rule(markIs(1<<14), clearMark(1<<14))) },
		},
		{
			Name: "reject", Title: "the kernel refuses connections, by resets and by ICMP", Needs: "CONFIG_NFT_REJECT (modprobe nft_reject)",
			chains: func(f *family) []chainSpec { return filter(f.rejectRules()...) },
		},
		{
			Name: "dnat", Title: "the kernel translates destinations to what a map says", Needs: "CONFIG_NFT_NAT (modprobe nft_nat)", sets: []string{affinity},
			chains: func(f *family) []chainSpec {
				load := rule(f.frontend(), one(f.saddr(f.afterFrontend())), f.dnatTo(affinity))
				return translate(nftables.ChainHookPrerouting, -100, load)
			},
		},
		{
			Name: "masquerade", Title: "the kernel masquerades with fully random ports", Needs: "CONFIG_NFT_MASQ (modprobe nft_masq)",
			chains: func(*family) []chainSpec { return translate(nftables.ChainHookPostrouting, 100, one(masquerade())) },
		},
	}
}

func hookProbes() []Probe {
	return []Probe{
		{
			Name: "nat-hooks", Title: "the kernel has chains of type nat at every hook", Needs: "CONFIG_NF_NAT, CONFIG_NFT_NAT (modprobe nft_chain_nat)",
			chains: func(*family) []chainSpec { return anchorChains() },
		},
		{
			Name: "filter-hooks", Title: "the kernel has chains of type filter at every hook", Needs: "CONFIG_NF_TABLES_IPV4, CONFIG_NF_TABLES_IPV6",
			chains: func(*family) []chainSpec {
				const kind = nftables.ChainTypeFilter
				return []chainSpec{
					base("prerouting", kind, nftables.ChainHookPrerouting, -110), base("input", kind, nftables.ChainHookInput, 0),
					base("forward", kind, nftables.ChainHookForward, 0), base("output", kind, nftables.ChainHookOutput, beforeIPVS),
				}
			},
		},
		{
			Name: "layout", Title: "the kernel takes the whole layout, of mode nftables and beside IPVS", Needs: "what the other probes name",
			with: layOut,
		},
	}
}

// layOut makes the tables as an agent would, for no Services.
func layOut(p *Plane, _ *nftables.Table) error {
	ctx := context.Background()
	settings := dataplane.Settings{
		Detect: discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX, DetectInterface: "cali", MasqueradeBit: 14,
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/112")},
	}
	switch there, err := p.Exists(ctx); {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("table %s is there: expected a network namespace to throw away", tableName)
	}
	err := p.Replace(ctx, settings, ruleset.NewTable())
	if settings.IPVS = (&dataplane.IPVS{}); err == nil {
		err = p.Replace(ctx, settings, ruleset.NewTable())
	}
	return errors.Join(err, p.Cleanup(ctx))
}
