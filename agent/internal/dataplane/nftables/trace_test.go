package nftables

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// trace traces while something is done, and returns the steps as lines.
func trace(t *testing.T, filter TraceFilter, do func()) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps, done := make(chan TraceStep, 1000), make(chan error, 1)
	go func() { done <- Trace(ctx, filter, func(s TraceStep) { steps <- s }) }()
	awaitTable(t, true)
	do()
	time.Sleep(2 * traceLook)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	awaitTable(t, false)
	close(steps)
	var lines []string
	for s := range steps {
		line := s.Chain + ": " + s.Verdict
		if s.Destination.IsValid() {
			line += " to " + s.Protocol.String() + " " + s.Destination.String()
		}
		lines = append(lines, line)
	}
	return lines
}

func awaitTable(t *testing.T, there bool) {
	t.Helper()
	for range 100 {
		if strings.Contains(nft(t, "list", "tables"), "table ip "+traceTable) == there {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("table %s there: expected %v", traceTable, there)
}

// TestAPacketIsFollowedThroughTheChains: a real one, before and after its translation.
func TestAPacketIsFollowedThroughTheChains(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	backends := serveBackends(t, 2)
	table.SetEnvironment(testEnvironment)
	update(table, view(backends[0].addr.Addr().String()))
	if err := plane.Replace(t.Context(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	frontend := netip.MustParseAddrPort("10.96.0.1:80")
	connect := func() {
		connection, err := net.DialTimeout("tcp", frontend.String(), time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		_ = connection.Close()
	}
	lines := trace(t, TraceFilter{To: frontend, Protocol: state.TCP}, connect)
	for _, want := range []string{
		"nat-output: jump services to TCP 10.96.0.1:80", "services: goto pick-1", "pick-1: accept",
		"filter-output: jump guard to TCP 10.244.0.1:8080", "filter-input: accept (policy)",
	} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("%q is not among\n%s", want, strings.Join(lines, "\n"))
		}
	}
	for name, filter := range map[string]TraceFilter{
		"another port":     {To: netip.MustParseAddrPort("10.96.0.1:81")},
		"another protocol": {To: frontend, Protocol: state.UDP},
		"another client":   {To: frontend, From: netip.MustParseAddr("10.244.7.7")},
		"another family":   {From: netip.MustParseAddr("fd00::1")},
	} {
		if lines := trace6(t, filter, connect); len(lines) > 0 {
			t.Errorf("%s: traced\n%s", name, strings.Join(lines, "\n"))
		}
	}
}

// trace6 is trace for filters of either family.
func trace6(t *testing.T, filter TraceFilter, do func()) []string {
	t.Helper()
	if !filter.is6() {
		return trace(t, filter, do)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*traceLook)
	defer cancel()
	var lines []string
	go do()
	if err := Trace(ctx, filter, func(s TraceStep) { lines = append(lines, s.Chain) }); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestWhatAKilledTraceLeftIsRemoved(t *testing.T) {
	plane := open(t)
	nft(t, "add", "table", "ip", traceTable)
	if lines := trace(t, TraceFilter{To: netip.MustParseAddrPort("10.96.0.1:80")}, func() {}); len(lines) > 0 {
		t.Errorf("traced %q", lines)
	}
	nft(t, "add", "table", "ip", traceTable)
	if err := plane[0].Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitTable(t, false)
}

// TestEveryChainHasAMeaning: in both modes, and those that come and go.
func TestEveryChainHasAMeaning(t *testing.T) {
	beside := testSettings
	beside.IPVS = &dataplane.IPVS{}
	var names []string
	for _, settings := range []dataplane.Settings{testSettings, beside} {
		for _, chain := range ipv4.skeleton(settings) {
			names = append(names, chain.name)
		}
	}
	names = append(names, "pick-3", "local-pick-3", "turn-10.96.0.1-tcp-80-4", "by-address-7", "by-address-port-7", "affinity-10800s", "local-affinity-10800s")
	for _, name := range names {
		if meaning(name) == "" {
			t.Errorf("chain %s: nobody learns what it is for", name)
		}
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add(uint16(0xa11), []byte{2, 0, 0, 0, 12, 0, 1, 0, 'p', 'o', 'r', 't', 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, kind uint16, data []byte) { _, _ = parseTrace(kind, data) })
}
