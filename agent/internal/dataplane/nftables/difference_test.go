package nftables

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// many is a number of Services that do not change.
const many = 50

// updateAmongMany makes a table of the view and of many other Services.
func updateAmongMany(v ruleset.View) *ruleset.Table {
	f := &fleet{size: many}
	table := ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	table.Update(f.names(), func(name string) ruleset.View { return f.view(name, 0) })
	update(table, v)
	return table
}

// TestAReplacementCommitsTheDifference is of what is little: of an agent that comes after
// another, of the resync, and of repairs.
func TestAReplacementCommitsTheDifference(t *testing.T) {
	settings := testSettings
	settings.ServiceCIDRs = slices.Clone(settings.ServiceCIDRs[:1])
	for name, test := range map[string]struct {
		commands []string
		backends []string
		settings dataplane.Settings
		elements int
	}{
		"nothing":              {elements: 0},
		"a Service CIDR":       {settings: settings, elements: 2},
		"an element too many":  {commands: []string{"add element ip portolan cluster-ips { 10.96.3.99 }"}, elements: 1},
		"an element missing":   {commands: []string{"delete element ip portolan cluster-ips { 10.96.0.1 }"}, elements: 1},
		"an exchanged backend": {commands: []string{"delete element ip portolan endpoints { 10.96.0.7 . tcp . 80 . 0x3 }", "add element ip portolan endpoints { 10.96.0.7 . tcp . 80 . 0x3 : 10.9.9.9 . 80 }"}, elements: 2},
		"an exchanged verdict": {commands: []string{"delete element ip portolan service-ips { 10.96.0.7 . tcp . 80 }", "add element ip portolan service-ips { 10.96.0.7 . tcp . 80 : drop }"}, elements: 2},
		"a verdict of no use":  {commands: []string{"delete element ip portolan service-ips { 10.96.0.7 . tcp . 80 }", "add element ip portolan service-ips { 10.96.0.7 . tcp . 80 : jump pick-10 }"}, elements: 2},
		"ranges of sources":    {commands: []string{"flush set ip portolan firewall-allow"}, elements: 2},
		"the digest":           {commands: []string{"flush set ip portolan content-digest"}, elements: 1},
		// Of three frontends of IPv4 a slot and who may stick to it, and the digest.
		"a backend that is new": {backends: []string{"10.244.1.1", "10.244.2.3"}, elements: 14},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			if test.settings.MasqueradeBit == 0 {
				test.settings = testSettings
			}
			if test.backends == nil {
				test.backends = []string{"10.244.1.1", "10.244.2.2"}
			}
			first := open(t)
			if err := first.Replace(ctx, testSettings, updateAmongMany(view("10.244.1.1", "10.244.2.2"))); err != nil {
				t.Fatal(err)
			}
			before := nft(t, "-s", "list", "table", "ip", "portolan")
			for _, command := range test.commands {
				nft(t, strings.Fields(command)...)
			}
			table := updateAmongMany(view(test.backends...))
			first[0].known = false
			made, elements, err := first[0].replace(test.settings, table, false)
			if err != nil {
				t.Fatal(err)
			}
			if elements != test.elements {
				t.Errorf("%d elements deleted and added, want %d", elements, test.elements)
			}
			if after := nft(t, "-s", "list", "table", "ip", "portolan"); len(test.commands) > 0 && sorted(after) != sorted(before) {
				t.Errorf("it holds:\n%s\nwant:\n%s", after, before)
			}
			first[0].loaded, first[0].known = made, true
			first[0].remember()
			if disturbed(t, first) {
				t.Error("what was counted is not what the kernel has")
			}
			if _, elements, err := first[0].replace(test.settings, table, true); err != nil || elements < many*endpointsPerService {
				t.Errorf("%d elements, %v: want all of them where everything is asked for", elements, err)
			}
		})
	}
}

// TestAnotherAgentMakesTheDifference has one agent follow another with whatever came
// meanwhile, be it little or much.
func TestAnotherAgentMakesTheDifference(t *testing.T) {
	first := open(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		among := ruleset.NewTable
		if rapid.Bool().Draw(t, "among many") {
			among = func() *ruleset.Table { return updateAmongMany(ruleset.View{}) }
		}
		before, after := among(), among()
		before.SetEnvironment(testEnvironment)
		after.SetEnvironment(testEnvironment)
		update(before, randomView(t))
		update(after, randomView(t))
		if err := first.Replace(ctx, testSettings, before); err != nil {
			t.Fatal(err)
		}
		second, err := Open(first[0].logger, dataplane.IPv4, dataplane.IPv6)
		if err != nil {
			t.Fatal(err)
		}
		if err := planes(second).Replace(ctx, testSettings, after); err != nil {
			t.Fatal(err)
		}
		checkSpares(t, second, after)
		collectAll(t, second)
		compare(t, second, after)
		if err := planes(second).each((*Plane).Close); err != nil {
			t.Fatal(err)
		}
		// The first takes over again, whose rules somebody else has changed.
		if err := first.Replace(ctx, testSettings, after); err != nil {
			t.Fatal(err)
		}
		compare(t, first, after)
	})
}

// TestAReplacementThatSomebodyGetsInTheWayOfIsMadeWhole changes the kernel between the
// look and the commit.
func TestAReplacementThatSomebodyGetsInTheWayOfIsMadeWhole(t *testing.T) {
	plane := open(t)[0]
	table := updateAmongMany(view("10.244.1.1"))
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	plane.known = false
	nft(t, "delete", "element", "ip", "portolan", "cluster-ips", "{ 10.96.0.1 }")
	l, next := newLoaded(plane.family, testSettings), newBatch(plane.family)
	next.whole(testSettings, table)
	found, ok := plane.compareSkeleton(l, testSettings)
	if !ok || !found.exact() {
		t.Fatalf("the chains are not as they should be: %+v", found)
	}
	err := plane.transact("testing", func(tx *transaction) error {
		elements, err := plane.queueContent(tx, l, found, next, testSettings, false)
		if elements != 1 {
			t.Errorf("%d elements, want the one that is missing", elements)
		}
		nft(t, "flush", "map", "ip", "portolan", "endpoints")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), errDisturbed.Error()) {
		t.Fatalf("error %v, want %v", err, errDisturbed)
	}
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(nft(t, "list", "map", "ip", "portolan", "endpoints"), "tcp"); n < many*endpointsPerService {
		t.Error(fmt.Sprint(n, " slots"))
	}
}
