package nftables

import (
	"context"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// elsewhere is a content that IPVS balances.
type elsewhere struct{ *ruleset.Table }

func (e elsewhere) Frontends() iter.Seq[*ruleset.Frontend] {
	return func(yield func(*ruleset.Frontend) bool) {
		for f := range e.Table.Frontends() {
			stripped := *f
			stripped.Elsewhere = f.Backends.Len() > 0
			stripped.Backends, stripped.LocalBackends, stripped.Affinity, stripped.Scheduler = ruleset.Backends{}, ruleset.Backends{}, 0, ""
			stripped.Weights, stripped.LocalWeights = ruleset.Weights{}, ruleset.Weights{}
			if !yield(&stripped) {
				return
			}
		}
	}
}

var (
	ipvsSettings = func() dataplane.Settings {
		s := testSettings
		s.IPVS = &dataplane.IPVS{}
		return s
	}()
	handleOfRule = regexp.MustCompile(` # handle \d+`)
	setElements  = regexp.MustCompile(`(?s)elements = \{.*?\}`)
)

// skeletonText is our tables as nft prints them, without handles and elements.
func skeletonText(t *testing.T) string {
	t.Helper()
	return setElements.ReplaceAllString(handleOfRule.ReplaceAllString(nft(t, "list", "ruleset"), ""), "")
}

// TestTheTableStaysWhenTheModeIsSwitched: the chains of one mode make room for those of the
// other, and when packets in flight have passed, the table is as if it had been made so.
func TestTheTableStaysWhenTheModeIsSwitched(t *testing.T) {
	ctx, table := context.Background(), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	v := view("10.244.1.1", "10.244.2.2", "10.244.3.3", "fd00:10:244:1::1", "fd00:10:244:1::2")
	v.Service.Scheduler = "rr"
	update(table, v)
	modes := map[string]struct {
		settings dataplane.Settings
		content  dataplane.Content
	}{"nftables": {testSettings, table}, "ipvs": {ipvsSettings, elsewhere{table}}}
	want := map[string]string{}
	for name, m := range modes {
		fresh := openPlanes(t)
		if err := fresh.Replace(ctx, m.settings, m.content); err != nil {
			t.Fatal(err)
		}
		want[name] = skeletonText(t)
		if err := fresh.each(func(p *Plane) error { return p.Cleanup(ctx) }); err != nil {
			t.Fatal(err)
		}
	}
	plane := open(t)
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	sets := regexp.MustCompile(`(?:set|map) \S+ \{ # handle \d+`).FindAllString(nft(t, "-a", "list", "table", "ip", "portolan"), -1)
	for _, name := range []string{"ipvs", "nftables", "ipvs", "nftables"} {
		m := modes[name]
		if err := plane.Replace(ctx, m.settings, m.content); err != nil {
			t.Fatalf("on the way to %s: %v", name, err)
		}
		if !plane[0].Pending() {
			t.Errorf("%s: nothing is left for packets in flight", name)
		}
		for range 2 {
			if is, err := plane.Disturbed(ctx); is || err != nil {
				t.Fatalf("%s: disturbed: %v, %v", name, is, err)
			}
			if _, err := plane.Collect(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if plane[0].Pending() {
			t.Errorf("%s: something is left for packets in flight for ever", name)
		}
		got := strings.Split(skeletonText(t), "\n")
		expected := strings.Split(want[name], "\n")
		slices.Sort(got)
		slices.Sort(expected)
		if !slices.Equal(got, expected) {
			t.Errorf("%s: the rules are\n%s\nwant\n%s", name, skeletonText(t), want[name])
		}
		now := regexp.MustCompile(`(?:set|map) \S+ \{ # handle \d+`).FindAllString(nft(t, "-a", "list", "table", "ip", "portolan"), -1)
		if len(now) == 0 || !slices.Equal(now, sets) {
			t.Errorf("%s: the table was made anew: %v, was %v", name, now, sets)
		}
		again := openPlanes(t)
		for _, p := range again {
			if !p.Adopt(ctx, m.settings, m.content) {
				t.Errorf("%s: %s: another agent does not find what it wants", name, p.family)
			}
			if p.Pending() {
				t.Errorf("%s: %s: another agent finds something to collect: %v", name, p.family, p.loaded.extras.unused)
			}
			_ = p.Close()
		}
	}
}

// TestASwitchThatBrokeOffIsFinished by an agent that finds what another has left half way.
func TestASwitchThatBrokeOffIsFinished(t *testing.T) {
	ctx, table := context.Background(), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	update(table, view("10.244.1.1", "10.244.2.2", "fd00:10:244:1::1"))
	plane := open(t)
	for _, m := range []struct {
		settings dataplane.Settings
		content  dataplane.Content
	}{{testSettings, table}, {ipvsSettings, elsewhere{table}}, {testSettings, table}} {
		if err := plane.Replace(ctx, m.settings, m.content); err != nil { // And nothing is collected.
			t.Fatal(err)
		}
		next := openPlanes(t)
		if err := next.Replace(ctx, m.settings, m.content); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, p := range next {
				if _, err := p.Collect(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		if m.settings.IPVS != nil {
			for _, p := range next {
				if n := p.loaded.counts[endpoints] + len(p.loaded.extras.there); n > 0 {
					t.Errorf("%s: %d slots and chains of the other mode are still there", p.family, n)
				}
				if is, err := p.Disturbed(ctx); is || err != nil {
					t.Errorf("%s: disturbed: %v, %v", p.family, is, err)
				}
			}
		}
		for _, p := range next {
			_ = p.Close()
		}
	}
}

// TestAChainIsThereBeforeAnythingGoesToIt: a transaction of its own adds it. In one and the
// same, a packet in flight would meet it without rules, and be refused. (That is so seldom that
// no test with packets would notice.)
func TestAChainIsThereBeforeAnythingGoesToIt(t *testing.T) {
	ctx, plane, table := context.Background(), open(t)[0], ruleset.NewTable()
	apply := func(scheduler string, backends ...string) (transactions uint32) {
		t.Helper()
		before, err := plane.conn.GetGen()
		if err != nil {
			t.Fatal(err)
		}
		v := view(backends...)
		v.Service.ClusterIPs, v.Service.Scheduler = v.Service.ClusterIPs[:1], scheduler
		v.Service.Affinity, v.Service.ExternalLocal = 0, false
		changes := update(table, v)
		if err := plane.Apply(ctx, &changes); err != nil {
			t.Fatal(err)
		}
		after, err := plane.conn.GetGen()
		if err != nil {
			t.Fatal(err)
		}
		return after.ID - before.ID
	}
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	many := make([]string, readyPicks+1)
	for i := range many {
		many[i] = "10.244.9." + strconv.Itoa(i+1)
	}
	for _, step := range []struct {
		what         string
		scheduler    string
		backends     []string
		transactions uint32
	}{
		{"a chain that is ready", "", many[:2], 1},
		{"a number that there is no chain for yet", "", many, 2},
		{"the same number", "", append([]string{"10.244.8.1"}, many[1:]...), 1},
		{"a chain of its own", "rr", many[:2], 2},
		{"other endpoints in turn", "rr", many[1:3], 1},
		{"another number of them in turn", "rr", many[1:4], 2},
		{"a hash", "sh", many[1:4], 2},
		{"a hash of fewer", "sh", many[1:3], 1},
	} {
		if got := apply(step.scheduler, step.backends...); got != step.transactions {
			t.Errorf("%s: %d transactions, want %d", step.what, got, step.transactions)
		}
	}
}
