package nftables

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// TestWhatDiffersIsListed: also an element that was exchanged for another, which nobody
// notices before somebody asks.
func TestWhatDiffersIsListed(t *testing.T) {
	for name, test := range map[string]struct{ commands, want string }{
		"a table is gone":        {"delete table ip portolan", "table portolan||a table|"},
		"a set is added":         {"add set ip portolan other { type ipv4_addr; }", "table portolan||our sets and chains|others"},
		"a rule is added":        {"add rule ip portolan services drop", "chain services||our rules|others"},
		"a chain is exchanged":   {"flush chain ip portolan pick-2 && add rule ip portolan pick-2 drop", "chain pick-2||our rules|others"},
		"an address is gone":     {"delete element ip portolan cluster-ips { 10.96.0.1 }", "set cluster-ips|10.96.0.1|an element|"},
		"an address has come":    {"add element ip portolan cluster-ips { 10.96.0.99 }", "set cluster-ips|10.96.0.99||an element"},
		"a Service CIDR is gone": {"flush set ip portolan service-cidrs", "set service-cidrs||[10.96.0.0/16 fd00:96::/112]|others"},
		"a frontend is another": {
			"delete element ip portolan service-ips { 10.96.0.1 . tcp . 80 } && add element ip portolan service-ips { 10.96.0.1 . tcp . 80 : goto pick-1 }",
			"map service-ips|TCP 10.96.0.1:80|pick-2|pick-1"},
		"an endpoint is another": {
			"delete element ip portolan endpoints { 10.96.0.1 . tcp . 80 . 0x00000001 } && add element ip portolan endpoints { 10.96.0.1 . tcp . 80 . 0x00000001 : 10.244.9.9 . 8080 }",
			"map endpoints|TCP 10.96.0.1:80 slot 1|10.244.2.2:8080|10.244.9.9:8080"},
		"a source may connect": {
			"add element ip portolan firewall-allow { 198.51.100.10 . tcp . 80 . 192.0.2.0/24 }", "set firewall-allow|TCP 198.51.100.10:80 from 192.0.2.0||an element"},
	} {
		t.Run(name, func(t *testing.T) {
			plane, table := open(t), ruleset.NewTable()
			table.SetEnvironment(testEnvironment)
			update(table, view("10.244.1.1", "10.244.2.2"))
			if err := plane.Replace(context.Background(), testSettings, table); err != nil {
				t.Fatal(err)
			}
			compare := func() string {
				var lines []string
				for _, p := range plane {
					found, err := p.Compare(context.Background(), testSettings, table)
					if err != nil {
						t.Fatal(err)
					}
					for _, d := range found {
						lines = append(lines, fmt.Sprintf("%s|%s|%s|%s", d.Place, d.Key, d.Wanted, d.Found))
					}
				}
				return strings.Join(lines, ";")
			}
			if got := compare(); got != "" {
				t.Fatalf("before anybody did anything: %s", got)
			}
			for command := range strings.SplitSeq(test.commands, " && ") {
				nft(t, strings.Fields(command)...)
			}
			before := nft(t, "-s", "list", "ruleset")
			if got := compare(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if after := nft(t, "-s", "list", "ruleset"); after != before {
				t.Error("comparing has changed something")
			}
		})
	}
}
