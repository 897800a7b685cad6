package conformance

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// seenInvalid counts, on the node, packets that conntrack cannot place.
const seenInvalid = `table inet invalid {
	counter seen { }
	chain prerouting {
		type filter hook prerouting priority 0
		tcp sport 8080 ct state invalid counter name seen
	}
}
`

// leaked counts, in a client's pod, packets from an endpoint's own address.
const leaked = `table inet leaked {
	counter seen { }
	chain prerouting {
		type filter hook prerouting priority 0
		ip saddr 10.244.2.31 counter name seen
	}
}
`

// TestWhatConntrackFindsInvalidDoesNotReachClients is S122: such a packet would come
// from an endpoint that the client has never heard of, and have it reset its
// connection (kubernetes/kubernetes issue 74839).
func TestWhatConntrackFindsInvalidDoesNotReachClients(t *testing.T) {
	onceWorlds.lend(t, func(w *world) {
		step := find(t, "cluster-ip").Steps[0]
		w.enter(t, nil, &step)
		client, err := w.Find("pc1")
		if err != nil {
			t.Fatal(err)
		}
		server, err := w.Find("nb1")
		if err != nil {
			t.Fatal(err)
		}
		held := w.holdTo(t, client, netip.MustParseAddrPort("10.96.0.1:80"), server)
		defer held.Close()
		for place, rules := range map[*lab.Namespace]string{w.Node: seenInvalid, client.In: leaked} {
			if _, err := place.Run(rules, "nft", "-f", "-"); err != nil {
				t.Fatal(err)
			}
		}
		defer w.Node.Run("", "nft", "delete", "table", "inet", "invalid")   //nolint:errcheck // Nobody minds.
		defer client.In.Run("", "nft", "delete", "table", "inet", "leaked") //nolint:errcheck // Nobody minds.
		const times = 5
		for range times {
			if err := server.In.Do(func() error { return talk.SendStraySegments(held.Backend, held.Client()) }); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(patience); counted(t, w.Node, "invalid") < times; time.Sleep(pause) {
			if time.Now().After(deadline) {
				t.Fatal("no packet was invalid")
			}
		}
		if packets := counted(t, client.In, "leaked"); packets > 0 {
			t.Errorf("%d packets from an endpoint's own address reached a client", packets)
		}
		if err := held.Check(patience); err != nil {
			t.Errorf("the connection broke: %v", err)
		}
	})
}

// holdTo connects until a certain server answers, and keeps that connection.
func (w *world) holdTo(t *testing.T, client *lab.Place, to netip.AddrPort, server *lab.Place) *talk.Held {
	t.Helper()
	call := talk.Call{Protocol: "tcp", Source: client.Of(to.Addr()), Destination: to, Patience: patience}
	for range 100 {
		var held *talk.Held
		if err := client.In.Do(func() (err error) { held, err = talk.Hold(call); return err }); err != nil {
			t.Fatal(err)
		}
		if held.Backend.Addr() == server.Of(to.Addr()) {
			return held
		}
		held.Close()
	}
	t.Fatalf("%s never answers", server.Name)
	return nil
}

// counted returns how many packets a table's counter has counted.
func counted(t *testing.T, in *lab.Namespace, table string) int {
	t.Helper()
	text, err := in.Run("", "nft", "list", "counters", "table", "inet", table)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(text, "packets ")
	number, _, _ := strings.Cut(after, " ")
	packets, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return packets
}
