package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portolan-net/portolan/agent"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

func TestStepsAreLines(t *testing.T) {
	var out strings.Builder
	var ended atomic.Int32
	p := &printer{w: &out, most: 2, numbers: map[uint32]int{}, enough: func() { ended.Add(1) }, name: func(n uint32) string { return fmt.Sprintf("eth%d", n) }}
	before, after := netip.MustParseAddrPort("10.96.0.1:80"), netip.MustParseAddrPort("10.244.1.5:8080")
	client := netip.MustParseAddrPort("10.244.1.9:4000")
	for _, s := range []agent.TraceStep{
		{Packet: 77, Table: "portolan", Chain: "nat-prerouting", Verdict: "jump services", Meaning: "choose an endpoint", Source: client, Destination: before, Protocol: agent.TCP, In: 3},
		{Packet: 77, Table: "portolan", Chain: "services", Verdict: "continue"},
		{Packet: 77, Table: "portolan", Chain: "services", Verdict: "goto pick-2", Meaning: "which Service?"},
		{Packet: 78, Table: "other", Chain: "input", Verdict: "drop", Source: client, Destination: before, Protocol: agent.TCP},
		{Packet: 77, Table: "portolan", Chain: "filter-forward", Verdict: "accept (policy)", Source: client, Destination: after, Protocol: agent.TCP, In: 3, Out: 4},
		{Packet: 77, Table: "other", Chain: "forward", Verdict: "accept", Source: client, Destination: after, Protocol: agent.TCP, In: 3, Out: 4},
		{Lost: true},
		{Packet: 79, Verdict: "accept"},
	} {
		p.step(s)
	}
	const want = `#1  TCP 10.244.1.9:4000 > 10.96.0.1:80 in by eth3
#1    portolan nat-prerouting      jump services            choose an endpoint
#1    portolan services            goto pick-2              which Service?
#2  TCP 10.244.1.9:4000 > 10.96.0.1:80
#2    other input                  drop
#1  TCP 10.244.1.9:4000 > 10.244.1.5:8080 in by eth3 out by eth4
#1    portolan filter-forward      accept (policy)
#1    other forward                accept
    steps were lost: more came than could be read
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if ended.Load() != 1 {
		t.Errorf("told %d times that it is enough", ended.Load())
	}
}

func TestWhatIsTraced(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"--to", "10.96.0.1:80"}, errNotLive.Error()},
		{[]string{"--live"}, "expected --from or --to"},
		{[]string{"--live", "--to", "web:80"}, `--to "web:80": expected ADDRESS:PORT`},
		{[]string{"--live", "--to", "10.96.0.1:80/icmp"}, `--to "10.96.0.1:80/icmp": expected protocol tcp, udp or sctp`},
		{[]string{"--live", "--from", "me"}, `--from "me": expected an address`},
		{[]string{"--live", "--from", "fd00::1", "--to", "10.96.0.1"}, "--from fd00::1, --to 10.96.0.1: expected addresses of one family"},
		{[]string{"--live", "--to", "10.96.0.1", "-n", "0"}, "--packets 0: expected at least 1"},
	} {
		if _, _, err := asktest.Run(t, Command(), test.arguments...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %s", test.arguments, err, test.want)
		}
	}
	o := options{to: "[fd00:96::10]:53/udp", from: "::ffff:10.0.0.1", packets: 1}
	if _, err := o.filter(); err == nil {
		t.Error("a mapped address is one of IPv4")
	}
	o.from = "fd00::9"
	if filter, err := o.filter(); err != nil || filter.Protocol != agent.UDP || filter.To.Port() != 53 || filter.From.String() != "fd00::9" {
		t.Errorf("filter %+v, error %v", filter, err)
	}
}
