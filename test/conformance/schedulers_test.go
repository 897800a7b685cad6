package conformance

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// TestEverySchedulerByNftables: what each does in nftables mode, by connections, and that the
// node says where that is not what it does in IPVS mode.
func TestEverySchedulerByNftables(t *testing.T) {
	s := newStage(t)
	const weights = "10.244.1.21=3"
	const many = 120
	// At random, a share strays by five standard deviations once in two million times.
	around := func(n, mean, deviation int) bool { return n > mean-5*deviation && n < mean+5*deviation }
	evenAtRandom := func(c map[string]int) bool {
		return around(c["pe1"], 30, 5) && around(c["pe2"], 30, 5) && around(c["nb1"], 30, 5) && around(c["nc1"], 30, 5)
	}
	byWeightAtRandom := func(c map[string]int) bool { // 3 : 1 : 1 : 1
		return around(c["pe1"], 60, 6) && around(c["pe2"], 20, 4) && around(c["nb1"], 20, 4) && around(c["nc1"], 20, 4)
	}
	exactly := func(pe1, others int) func(map[string]int) bool {
		return func(c map[string]int) bool {
			return c["pe1"] == pe1 && c["pe2"] == others && c["nb1"] == others && c["nc1"] == others
		}
	}
	one := func(c map[string]int) bool { return len(c) == 1 }
	for _, row := range []struct {
		scheduler, weights string
		want               func(map[string]int) bool
		promise            string
		warning            string
	}{
		{"", "", evenAtRandom, "equal shares, at random", ""},
		{"", weights, byWeightAtRandom, "shares by weight, at random", ""},
		{"rr", weights, exactly(30, 30), "equal shares in turn, whatever the weights", ""},
		{"wrr", weights, exactly(60, 20), "shares by weight in turn", ""},
		{"sh", "", one, "one endpoint for a client", ""},
		{"dh", "", one, "one endpoint for a destination", ""},
		{"mh", "", func(c map[string]int) bool { return len(c) == 4 }, "an endpoint for a client's address and port", ""},
		{"fo", weights, exactly(many, 0), "the endpoint of the largest weight", ""},
		{"lc", weights, evenAtRandom, "equal shares, at random", "with equal shares"},
		{"wlc", weights, byWeightAtRandom, "shares by weight, at random", "by weight"},
		{"sed", weights, byWeightAtRandom, "shares by weight, at random", "by weight"},
		{"nq", weights, byWeightAtRandom, "shares by weight, at random", "by weight"},
		{"lblc", weights, byWeightAtRandom, "shares by weight, at random", "by weight"},
		{"lblcr", weights, byWeightAtRandom, "shares by weight, at random", "by weight"},
		{"ovf", "", evenAtRandom, "equal shares, at random", "with equal shares"},
	} {
		s.is(cluster{mode: "nftables", scheduler: row.scheduler, weights: row.weights, endpoints: everybody()})
		held := s.hold("pc1", clusterIP+":80", many)
		if counts := shares(held); !row.want(counts) {
			t.Errorf("%q: %d connections are shared as %v: expected %s", row.scheduler, many, counts, row.promise)
		} else {
			t.Logf("%-5s %v: %s", row.scheduler, counts, row.promise)
		}
		hangUpAll(held)
		if got := s.warnings(); row.warning == "" && got != "" || !strings.Contains(got, row.warning) {
			t.Errorf("%q: the node warns: %q, expected %q", row.scheduler, got, row.warning)
		}
	}
}

// warnings are what the node warns of Services.
func (s *stage) warnings() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	var text strings.Builder
	nodes, err := s.proxy.(*live).admin.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range nodes.GetNodes() {
		for _, w := range n.GetWarnings() {
			if w.GetName().GetKind() != discoveryv1.Kind_KIND_SERVICE {
				continue
			}
			text.WriteString(w.GetReason() + ": " + w.GetMessage() + "\n")
		}
	}
	return text.String()
}

// TestAHashChoosesTheSameWhateverCameBefore, so that all nodes that have the same endpoints
// choose the same.
func TestAHashChoosesTheSameWhateverCameBefore(t *testing.T) {
	s := newStage(t)
	clients := []string{"pe1", "pc1", "pc2", "pe2", "pe3", "host"}
	for _, scheduler := range []string{"sh", "dh"} {
		choose := func(endpoints ...string) map[string]string {
			s.is(cluster{mode: "nftables", scheduler: scheduler, endpoints: endpoints})
			chosen := map[string]string{}
			for _, c := range clients {
				held := s.hold(c, clusterIP+":80", 3)
				names := slices.Sorted(maps.Keys(shares(held)))
				hangUpAll(held)
				chosen[c] = strings.Join(names, " and ")
			}
			return chosen
		}
		first := choose(everybody()...)
		choose("nc1", "pe2")
		choose("nb1")
		if again := choose(everybody()...); !maps.Equal(again, first) {
			t.Errorf("%s: clients have %v, and had %v with the same endpoints", scheduler, again, first)
		}
		seen := map[string]bool{}
		for client, endpoint := range first {
			seen[endpoint] = true
			if strings.Contains(endpoint, "and") {
				t.Errorf("%s: %s has %s", scheduler, client, endpoint)
			}
		}
		if scheduler == "sh" && len(seen) < 2 {
			t.Errorf("six clients all have %v", first)
		}
		t.Logf("%s: %v", scheduler, first)
	}
}
