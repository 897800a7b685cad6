package conformance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// otherMark is somebody else's: every packet has it when it comes in.
const otherMark = 0x30001

// marks counts what first packets are marked with before and after masquerade.
const marks = `table inet marks {
	counter asked { }
	counter not-asked { }
	counter cleared { }
	counter spoilt { }
	chain before {
		type filter hook prerouting priority -300
		meta mark set %#[1]x
	}
	chain between {
		type filter hook forward priority 200
		ct state new meta mark %#[2]x counter name asked
		ct state new meta mark %#[1]x counter name not-asked
	}
	chain after {
		type filter hook postrouting priority 300
		ct state new meta mark %#[1]x counter name cleared
		ct state new meta mark != %#[1]x counter name spoilt
	}
}
`

// TestMasqueradeMark is S102 and S103: the masquerade is asked for by one bit, of which
// the configuration says which; other bits of the mark survive; and ports are random.
func TestMasqueradeMark(t *testing.T) {
	onceWorlds.lend(t, func(w *world) { w.masqueradeMark(t) })
}

func (w *world) masqueradeMark(t *testing.T) {
	const calls = 5
	for _, bit := range []int{14, 5} {
		t.Run(fmt.Sprintf("bit %d", bit), func(t *testing.T) {
			step := find(t, "cluster-ip").Steps[0]
			step.Proxy = fmt.Appendf(step.Proxy, "nftables: {masqueradeBit: %d}\n", bit)
			w.enter(t, nil, &step)
			rules, err := w.Node.Run("", "nft", "list", "table", "ip", "portolan")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(rules, "masquerade fully-random") && !strings.Contains(rules, "masquerade random,fully-random") {
				t.Error("no rule masquerades fully-random")
			}
			if _, err := w.Node.Run(fmt.Sprintf(marks, otherMark, otherMark|1<<bit), "nft", "-f", "-"); err != nil {
				t.Fatal(err)
			}
			defer w.Node.Run("", "nft", "delete", "table", "inet", "marks") //nolint:errcheck // The next one would fail.
			for range calls {
				w.callWeb(t, "outside")
				w.callWeb(t, "pc1")
			}
			got, err := w.Node.Run("", "nft", "list", "counters", "table", "inet", "marks")
			if err != nil {
				t.Fatal(err)
			}
			for counter, want := range map[string]int{"asked": calls, "not-asked": calls, "cleared": 2 * calls, "spoilt": 0} {
				if !strings.Contains(got, fmt.Sprintf("counter %s {\n\t\tpackets %d ", counter, want)) {
					t.Errorf("%s: expected %d packets, got\n%s", counter, want, got)
				}
			}
		})
	}
}

func (w *world) callWeb(t *testing.T, from string) {
	t.Helper()
	place, err := w.Find(from)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("10.96.0.1:80")
	call := talk.Call{Protocol: "tcp", Source: place.Of(to.Addr()), Destination: to, Patience: patience}
	_ = place.In.Do(func() error {
		if answer := talk.Make(call); answer.Result != talk.Answered {
			t.Errorf("from %s: %s %v", from, answer.Result, answer.Err)
		}
		return nil
	})
}

func find(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	for _, s := range loadScenarios(t) {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no scenario %s", name)
	return nil
}
