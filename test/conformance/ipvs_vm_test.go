//go:build vm

package conformance

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// TestEverySchedulerSharesConnectionsAsItPromises by connections that stay.
func TestEverySchedulerSharesConnectionsAsItPromises(t *testing.T) {
	s := newStage(t)
	even := func(counts map[string]int) bool {
		return counts["pe1"] == 6 && counts["pe2"] == 6 && counts["nb1"] == 6 && counts["nc1"] == 6
	}
	byWeight := func(counts map[string]int) bool { // 3 : 1 : 1 : 1
		return counts["pe1"] == 12 && counts["pe2"] == 4 && counts["nb1"] == 4 && counts["nc1"] == 4
	}
	nearlyByWeight := func(counts map[string]int) bool {
		return counts["pe1"] >= 9 && counts["pe1"] <= 15 && counts["pe2"] >= 2 && counts["nb1"] >= 2 && counts["nc1"] >= 2
	}
	one := func(counts map[string]int) bool { return len(counts) == 1 }
	spread := func(counts map[string]int) bool { return len(counts) == 4 }
	const weights = "10.244.1.21=3"
	const roomy = "10.244.1.21=100,10.244.1.22=100,10.244.2.31=100,10.244.3.41=100"
	const narrow = "10.244.1.21=10,10.244.1.22=10,10.244.2.31=10,10.244.3.41=10"
	full := func(counts map[string]int) bool { // 24 of 10 each
		return len(counts) == 3 && slices.Max(slices.Collect(maps.Values(counts))) <= 11
	}
	for _, row := range []struct {
		scheduler, weights string
		want               func(map[string]int) bool
		promise            string
	}{
		{"rr", weights, even, "equal shares, whatever the weights"},
		{"wrr", weights, byWeight, "shares by weight"},
		{"lc", weights, even, "equal shares of connections that stay, whatever the weights"},
		{"wlc", weights, nearlyByWeight, "shares by weight of connections that stay"},
		{"sed", weights, nearlyByWeight, "shares by weight of connections that stay"},
		{"nq", weights, nearlyByWeight, "shares by weight of connections that stay"},
		{"sh", "", one, "one endpoint for a client"},
		{"dh", "", one, "one endpoint for a destination"},
		{"lblc", roomy, one, "one endpoint for a destination, until it has more connections than its weight"},
		{"lblcr", roomy, one, "one endpoint for a destination, and more when it has more connections than its weight"},
		{"mh", "", spread, "an endpoint for a client's address and port"},
		{"fo", weights, func(c map[string]int) bool { return c["pe1"] == 24 }, "the endpoint of the largest weight"},
		{"ovf", narrow, full, "the endpoint of the largest weight that has fewer connections than that"},
	} {
		s.is(cluster{mode: "ipvs", scheduler: row.scheduler, weights: row.weights, endpoints: everybody()})
		held := s.hold("pc1", clusterIP+":80", 24)
		if counts := shares(held); !row.want(counts) {
			t.Errorf("%s: 24 connections are shared as %v: expected %s", row.scheduler, counts, row.promise)
		} else {
			t.Logf("%-5s %v: %s", row.scheduler, counts, row.promise)
		}
		hangUpAll(held)
	}
}

// TestClientIPPersistence: a client keeps its endpoint, another has another.
func TestClientIPPersistence(t *testing.T) {
	s := newStage(t)
	s.is(cluster{mode: "ipvs", affinity: true, endpoints: everybody()})
	seen := map[string]bool{}
	for _, client := range []string{"pc1", "pc2", "pe3"} {
		held := s.hold(client, clusterIP+":80", 6)
		counts := shares(held)
		if len(counts) != 1 {
			t.Errorf("%s has %v", client, counts)
		}
		maps.Copy(seen, map[string]bool{fmt.Sprint(slices.Sorted(maps.Keys(counts))): true})
		hangUpAll(held)
	}
	if len(seen) < 2 {
		t.Errorf("three clients all have %v: round robin would not", seen)
	}
}

// TestARemovedEndpointKeepsItsConnections and gets no new ones, and one that returns is
// whole again.
func TestARemovedEndpointKeepsItsConnections(t *testing.T) {
	s := newStage(t)
	s.is(cluster{mode: "ipvs", endpoints: everybody()})
	held := s.hold("pc1", clusterIP+":80", 8)
	s.is(cluster{mode: "ipvs", endpoints: []string{"nb1", "nc1"}})
	for _, h := range held {
		if err := h.Check(patience); err != nil {
			t.Errorf("a connection to %s, after endpoints were removed: %v", h.Backend, err)
		}
	}
	more := s.hold("pc1", clusterIP+":80", 8)
	if counts := shares(more); counts["pe1"]+counts["pe2"] > 0 || counts["nb1"] != 4 {
		t.Errorf("new connections are shared as %v", counts)
	}
	if table := s.ipvsadm(); !strings.Contains(table, "10.244.1.21:8080             Masq    0 ") {
		t.Errorf("it does not drain:\n%s", table)
	}
	s.is(cluster{mode: "ipvs", endpoints: everybody()})
	again := s.hold("pc1", clusterIP+":80", 8)
	if counts := shares(again); counts["pe1"] != 2 {
		t.Errorf("after its return: %v", counts)
	}
	hangUpAll(slices.Concat(held, more, again))
	s.is(cluster{mode: "ipvs", endpoints: []string{"nb1", "nc1"}})
	s.eventually("what has no connections goes", func() bool { return !strings.Contains(s.ipvsadm(), "10.244.1.21") })
}

func (s *stage) ipvsadm() string {
	s.t.Helper()
	out, err := s.Node.Run("", "ipvsadm", "-Ln")
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *stage) node(args ...string) string {
	s.t.Helper()
	out, err := s.Node.Run("", args[0], args[1:]...)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return out
}

// eventually waits for what takes the kernel's two minutes to forget a connection.
func (s *stage) eventually(what string, is func() bool) {
	s.t.Helper()
	const patience = 4 * time.Minute
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: not within %s\n%s", what, patience, s.ipvsadm())
		case <-time.After(time.Second):
		}
	}
}

// TestTheModeIsSwitchedUnderConnections: those that were made in one mode go on in the
// other, in both directions, and new ones are made throughout.
func TestTheModeIsSwitchedUnderConnections(t *testing.T) {
	s := newStage(t)
	s.is(cluster{mode: "nftables", endpoints: everybody()})
	held := s.hold("pc1", clusterIP+":80", 6)
	held = append(held, s.hold("host", clusterIP+":80", 4)...)
	for _, mode := range []string{"ipvs", "nftables", "ipvs", "nftables", "ipvs"} {
		stop := s.keepConnecting("pc2")
		s.is(cluster{mode: mode, endpoints: everybody()})
		switch made, refused, err := stop(); {
		case err != nil || made == 0 || refused > 0:
			t.Errorf("on the way to %s: %d connections, %d refused, %v", mode, made, refused, err)
		default:
			t.Logf("on the way to %s: %d connections, %d refused", mode, made, refused)
		}
		for _, h := range held {
			if err := h.Check(patience); err != nil {
				t.Errorf("in %s mode, a connection of an earlier one from %s to %s: %v", mode, h.Client(), h.Backend, err)
			}
		}
		held = append(held, s.hold("pc1", clusterIP+":80", 4)...)
		held = append(held, s.hold("host", clusterIP+":80", 2)...)
	}
	hangUpAll(held)
	s.is(cluster{mode: "nftables", endpoints: everybody()})
	s.eventually("nothing of IPVS is left", func() bool {
		return !strings.Contains(s.ipvsadm(), "TCP") && !strings.Contains(s.node("ip", "link"), "portolan-ipvs")
	})
}

// keepConnecting makes one connection after the other until it is stopped, or until one
// fails otherwise than by being refused.
func (s *stage) keepConnecting(from string) (stop func() (made, refused int, err error)) {
	place, err := s.Find(from)
	if err != nil {
		s.t.Fatal(err)
	}
	done, result := make(chan struct{}), make(chan error, 1)
	made, refused := 0, 0
	go func() {
		result <- place.In.Do(func() error {
			for {
				select {
				case <-done:
					return nil
				default:
				}
				answer := talk.Make(talk.Call{Protocol: "tcp", Destination: netip.MustParseAddrPort(clusterIP + ":80"), Patience: patience})
				switch answer.Result {
				case talk.Answered:
					made++
				case talk.Refused:
					refused++
				default:
					return fmt.Errorf("%s: %w", answer.Result, answer.Err)
				}
			}
		})
	}()
	return func() (int, int, error) {
		close(done)
		err := <-result
		return made, refused, err
	}
}

// TestAddressesAndSettingsOfTheNode: VIPs are bound, strictARP is set, timeouts are the
// kernel's, and cleanup leaves nothing.
func TestAddressesAndSettingsOfTheNode(t *testing.T) {
	s := newStage(t)
	s.is(cluster{mode: "ipvs", strictARP: true, endpoints: everybody()})
	if out := s.node("ip", "-br", "addr", "show", "portolan-ipvs"); !strings.Contains(out, clusterIP+"/32") || strings.Contains(out, "192.168.0.2") {
		t.Errorf("bound: %s", out)
	}
	for file, want := range map[string]string{
		"/proc/sys/net/ipv4/conf/all/arp_ignore": "1", "/proc/sys/net/ipv4/conf/all/arp_announce": "2",
		"/proc/sys/net/ipv4/vs/conntrack": "1", "/proc/sys/net/ipv4/vs/expire_nodest_conn": "1", "/proc/sys/net/ipv4/vs/expire_quiescent_template": "1",
	} {
		var got string
		if err := s.Node.Do(func() error {
			content, err := os.ReadFile(file)
			got = strings.TrimSpace(string(content))
			return err
		}); err != nil || got != want {
			t.Errorf("%s is %q, %v: expected %s", file, got, err, want)
		}
	}
	if table := s.ipvsadm(); !strings.Contains(table, "UDP  10.96.0.1:53 rr") || !strings.Contains(table, "TCP  192.168.0.2:30080 rr") {
		t.Errorf("virtual servers:\n%s", table)
	}
	s.proxy.(*live).stop()
	s.node(program("portolan-agent"), "cleanup")
	if left := s.ipvsadm() + s.node("ip", "link") + s.node("nft", "list", "tables"); strings.Contains(left, "10.96.0.1") ||
		strings.Contains(left, "portolan") {
		t.Errorf("cleanup leaves:\n%s", left)
	}
}
