package nftables

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

func TestThisKernelHasWhatTheLayoutNeeds(t *testing.T) {
	names := map[string]bool{}
	for _, probe := range Probes() {
		if names[probe.Name] || probe.Title == "" || probe.Needs == "" {
			t.Errorf("%+v", probe)
		}
		names[probe.Name] = true
		if err := probe.Try(t.Context()); err != nil {
			t.Errorf("%s: %v", probe.Name, err)
		}
	}
	if left := nft(t, "list", "ruleset"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestEveryExpressionOfTheLayoutIsProbed but for those that every kernel with nf_tables has.
func TestEveryExpressionOfTheLayoutIsProbed(t *testing.T) {
	kinds := func(chains []chainSpec, into map[string]bool) {
		for _, chain := range chains {
			for _, exprs := range chain.rules {
				for _, e := range exprs {
					into[fmt.Sprintf("%T", e)] = true
				}
			}
		}
	}
	used, probed := map[string]bool{}, map[string]bool{}
	for _, f := range families {
		kinds(f.skeleton(testSettings), used)
		settings := testSettings
		settings.IPVS = &dataplane.IPVS{}
		kinds(f.skeleton(settings), used)
		for _, name := range []string{"pick-2", "turn-192.0.2.1-tcp-80-2", "by-address-2", "by-address-port-2", "affinity-3s"} {
			rules, ok := f.extra(name)
			if !ok {
				t.Fatal(name)
			}
			kinds([]chainSpec{{rules: rules}}, used)
		}
		for _, probe := range Probes() {
			if probe.chains != nil {
				kinds(probe.chains(f), probed)
			}
		}
	}
	for kind := range used {
		if !probed[kind] {
			t.Errorf("no probe makes a rule with %s", kind)
		}
	}
}

// TestWhatIsMissingIsSaid by probes for what no kernel has.
func TestWhatIsMissingIsSaid(t *testing.T) {
	unknownHook := nftables.ChainHook(7)
	for name, test := range map[string]struct {
		chains func(*family) []chainSpec
		want   string
		errno  error
	}{
		"a generator without a range": {
			func(*family) []chainSpec {
				return filter(one(&expr.Numgen{Register: firstRegister, Modulus: 0, Type: unix.NFT_NG_RANDOM}))
			}, "IPv4: adding a rule: ", unix.ERANGE,
		},
		"an unknown hook": {
			func(*family) []chainSpec {
				return []chainSpec{base("probe", nftables.ChainTypeFilter, &unknownHook, 0)}
			}, "IPv4: adding a chain: ", unix.EOPNOTSUPP,
		},
		"a set that is not there": {
			func(*family) []chainSpec { return filter(one(in("nowhere"))) }, "IPv4: adding a rule: ", unix.ENOENT,
		},
	} {
		err := Probe{chains: test.chains}.Try(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || !errors.Is(err, test.errno) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left := nft(t, "list", "ruleset"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestALayoutIsNotTriedWhereAnAgentIs(t *testing.T) {
	both := open(t)
	if err := both.Replace(t.Context(), testSettings, ruleset.NewTable()); err != nil {
		t.Fatal(err)
	}
	before := nft(t, "list", "ruleset")
	for _, probe := range Probes() {
		if err := probe.Try(t.Context()); (err != nil) != (probe.Name == "layout") {
			t.Errorf("%s: %v", probe.Name, err)
		}
	}
	if diff := cmp.Diff(before, nft(t, "list", "ruleset")); diff != "" {
		t.Error(diff)
	}
}

func TestASurveyFindsTablesWhoeverMadeThem(t *testing.T) {
	both := open(t)
	if err := both.Replace(t.Context(), testSettings, ruleset.NewTable()); err != nil {
		t.Fatal(err)
	}
	nft(t, "add", "table", "ip", "kube-proxy")
	nft(t, "add", "table", "ip6", "nat")
	nft(t, "add", "chain", "ip6", "nat", "KUBE-SERVICES")
	t.Cleanup(func() { nft(t, "flush", "ruleset") })
	found, err := Survey()
	if err != nil {
		t.Fatal(err)
	}
	layouts := map[string]int{}
	chains := map[string]int{}
	for _, table := range found {
		name := string(table.Family) + " " + table.Name
		layouts[name], chains[name] = table.Layout, len(table.Chains)
	}
	want := map[string]int{"IPv4 portolan": Layout, "IPv6 portolan": Layout, "IPv4 portolan-anchor": 0, "IPv6 portolan-anchor": 0, "IPv4 kube-proxy": 0, "IPv6 nat": 0}
	if diff := cmp.Diff(want, layouts); diff != "" {
		t.Error(diff)
	}
	if chains["IPv6 nat"] != 1 || chains["IPv4 portolan-anchor"] != len(anchorChains()) {
		t.Error(chains)
	}
}
