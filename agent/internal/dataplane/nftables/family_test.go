package nftables

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

func TestAFamilyThatFailsDoesNotStopTheOther(t *testing.T) {
	both, table := open(t), ruleset.NewTable()
	ctx := context.Background()
	update(table, view("10.244.1.1", "fd00:10:244:1::1"))
	if err := both.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	nft(t, "delete", "table", "ip", "portolan")
	changes := update(table, view("10.244.2.2", "fd00:10:244:2::2"))
	if err := both[0].Apply(ctx, &changes); err == nil || !strings.Contains(err.Error(), "IPv4") {
		t.Errorf("the change of a table that is gone: error %v, want one that names the family", err)
	}
	if err := both[1].Apply(ctx, &changes); err != nil {
		t.Errorf("IPv6: %v", err)
	}
	if listing := nft(t, "list", "map", "ip6", "portolan", "endpoints"); !strings.Contains(listing, "fd00:10:244:2::2") || strings.Contains(listing, "fd00:10:244:1::1") {
		t.Errorf("IPv6 after the change:\n%s", listing)
	}
}

// TestANodeWithoutIPv6 is S112, and what S112 does not ask for: that IPv6 can be
// switched on and off at any time.
func TestANodeWithoutIPv6(t *testing.T) {
	const setting = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
	disable := func(value string) {
		t.Helper()
		if err := os.WriteFile(setting, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	both, table := open(t), ruleset.NewTable()
	ctx := context.Background()
	update(table, view("10.244.1.1", "fd00:10:244:1::1"))
	defer disable("0")
	disable("1")
	if err := both.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	if tables := nft(t, "list", "tables"); strings.Contains(tables, "ip6") || !strings.Contains(tables, "table ip portolan\n") {
		t.Errorf("a node without IPv6 has\n%s", tables)
	}
	changes := update(table, view("10.244.2.2", "fd00:10:244:2::2"))
	if err := both.Apply(ctx, &changes); err != nil {
		t.Fatal(err)
	}
	if is := disturbed(t, both); is {
		t.Error("disturbed although nothing happened")
	}
	disable("0")
	if is, err := both[1].Disturbed(ctx); err != nil || !is {
		t.Fatalf("IPv6 came, and the plane says %v, %v: want to be replaced", is, err)
	}
	if err := both[1].Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	if listing := nft(t, "list", "map", "ip6", "portolan", "endpoints"); !strings.Contains(listing, "fd00:10:244:2::2") {
		t.Errorf("after IPv6 came:\n%s", listing)
	}
}

// TestAReplacementKeepsSlotsThatCanBePicked is what TestASlotThatCanBePickedIsAlwaysThere
// says of changes: of a replacement by fewer backends, by another agent too.
func TestAReplacementKeepsSlotsThatCanBePicked(t *testing.T) {
	ctx := context.Background()
	before, table := open(t), ruleset.NewTable()
	update(table, view("10.244.1.1", "10.244.2.2", "10.244.3.3", "10.244.4.4"))
	if err := before.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	after := openPlanes(t)
	defer func() {
		if err := after.each((*Plane).Close); err != nil {
			t.Error(err)
		}
	}()
	update(table, view("10.244.2.2"))
	if err := after.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	slots := func(set string) int {
		return strings.Count(nft(t, "list", "map", "ip", "portolan", set), "10.96.0.1 . tcp . 80 . 0x")
	}
	if got := slots(endpoints); got != 4 {
		t.Errorf("%d slots right after the replacement, want the four that could be picked before", got)
	}
	if listing := nft(t, "list", "map", "ip", "portolan", endpoints); strings.Contains(listing, "10.244.1.1") {
		t.Errorf("a slot leads to an endpoint that has gone:\n%s", listing)
	}
	for range 2 {
		if _, err := after.Collect(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := slots(endpoints); got != 1 {
		t.Errorf("%d slots once they are collected, want one", got)
	}
}
