package nftables

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// disturbed asks, and fails the test on an error.
func disturbed(t *testing.T, plane planes) bool {
	t.Helper()
	is, err := plane.Disturbed(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// sorted orders a listing's lines and elements: the kernel's order means nothing.
func sorted(listing string) string {
	words := strings.FieldsFunc(listing, func(r rune) bool { return strings.ContainsRune(",{}\n", r) })
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	slices.Sort(words)
	return strings.Join(words, "\n")
}

func TestWhatOthersDoToOurRulesIsNoticedAndUndone(t *testing.T) {
	for name, commands := range map[string][]string{
		"flush everything":       {"flush ruleset"},
		"delete a table":         {"delete table ip portolan"},
		"delete the IPv6 table":  {"delete table ip6 portolan"},
		"delete the anchor":      {"delete table ip portolan-anchor"},
		"switch a table off":     {"add table ip portolan { flags dormant; }"},
		"flush a chain":          {"flush chain ip portolan guard"},
		"add a rule":             {"add rule ip portolan services drop"},
		"exchange a rule":        {"flush chain ip portolan pick-1", "add rule ip portolan pick-1 drop"},
		"delete an element":      {"delete element ip portolan cluster-ips { 10.96.0.1 }"},
		"flush a map":            {"flush map ip portolan endpoints"},
		"flush the Service CIDR": {"flush set ip portolan service-cidrs"},
		"add an element":         {"add element ip6 portolan cluster-ips { fd00:96::99 }"},
		"add a set":              {"add set ip portolan other { type ipv4_addr; }"},
	} {
		t.Run(name, func(t *testing.T) {
			plane, table := open(t), ruleset.NewTable()
			table.SetEnvironment(testEnvironment)
			update(table, view("10.244.1.1", "10.244.2.2"))
			if err := plane.Replace(context.Background(), testSettings, table); err != nil {
				t.Fatal(err)
			}
			before := nft(t, "-s", "list", "ruleset")
			if disturbed(t, plane) {
				t.Fatal("disturbed before anybody did anything")
			}
			for _, command := range commands {
				nft(t, strings.Fields(command)...)
			}
			if !disturbed(t, plane) {
				t.Fatal("not noticed")
			}
			if err := plane.Replace(context.Background(), testSettings, table); err != nil {
				t.Fatal(err)
			}
			if after := nft(t, "-s", "list", "ruleset"); sorted(after) != sorted(before) {
				t.Errorf("not undone:\n%s\nwas:\n%s", after, before)
			}
			if disturbed(t, plane) {
				t.Error("disturbed after the repair")
			}
		})
	}
}

func TestAReplacementUndoesAnExchangedRule(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	before := nft(t, "-s", "list", "ruleset")
	nft(t, "flush", "chain", "ip", "portolan", "pick-1")
	nft(t, "add", "rule", "ip", "portolan", "pick-1", "drop")
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	if after := nft(t, "-s", "list", "ruleset"); sorted(after) != sorted(before) {
		t.Errorf("not undone:\n%s", after)
	}
}

func TestWhatOthersDoElsewhereIsNoDisturbance(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	var many []string // More than have a chain in advance.
	for i := range readyPicks + 4 {
		many = append(many, fmt.Sprintf("10.244.7.%d", i+1))
	}
	for _, backends := range [][]string{{"10.244.1.1"}, {"10.244.1.1", "10.244.2.2"}, many, {"10.244.3.3"}} {
		changes := update(table, view(backends...))
		if err := plane.Apply(context.Background(), &changes); err != nil {
			t.Fatal(err)
		}
		nft(t, "add", "table", "ip", "elsewhere")
		if disturbed(t, plane) {
			t.Fatalf("disturbed by another table, with backends %v", backends)
		}
		nft(t, "delete", "table", "ip", "elsewhere")
	}
	if disturbed(t, plane) {
		t.Fatal("disturbed by another table that is gone")
	}
	if err := plane.Apply(context.Background(), &ruleset.Changes{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range plane {
		if err := p.lookUp(); err != nil || p.looked != p.generations.others {
			t.Errorf("%d looks of %d, %v: want that the next look is cheap", p.looked, p.generations.others, err)
		}
	}
}

// TestNoiseOfOthersIsNoDisturbance has somebody commit to another table without a
// pause.
func TestNoiseOfOthersIsNoDisturbance(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	noise, err := nftables.New(nftables.AsLasting())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() {
		commits := 0
		for ; ctx.Err() == nil; commits++ {
			elsewhere := noise.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "elsewhere"})
			if commits%2 == 1 {
				noise.DelTable(elsewhere)
			}
			if err := noise.Flush(); err != nil {
				t.Error(err)
			}
		}
		noise.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "elsewhere"})
		_ = noise.Flush()
		_ = noise.CloseLasting()
		t.Logf("%d commits by others", commits)
	})
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	var backends []string
	for i := 0; ctx.Err() == nil; i++ {
		if len(backends) == 60 {
			backends = nil
			if err := plane.Replace(context.Background(), testSettings, table); err != nil {
				t.Fatal(err)
			}
		}
		backends = append(backends, fmt.Sprintf("10.244.7.%d", i%250+1))
		changes := update(table, view(backends...))
		if err := plane.Apply(context.Background(), &changes); err != nil {
			t.Fatal(err)
		}
		if disturbed(t, plane) {
			t.Fatal("disturbed by others' tables")
		}
	}
}

func BenchmarkDisturbedByNobody(b *testing.B) { benchmarkDisturbed(b, 0) }

func BenchmarkDisturbedElsewhere(b *testing.B) { benchmarkDisturbed(b, 1) }

func benchmarkDisturbed(b *testing.B, others uint64) {
	plane := open(b)[0]
	if err := plane.Replace(context.Background(), testSettings, ruleset.NewTable()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		plane.looked -= others
		if is, err := plane.Disturbed(context.Background()); err != nil || is {
			b.Fatal(is, err)
		}
	}
}
