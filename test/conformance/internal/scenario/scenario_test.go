package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
)

func TestProbes(t *testing.T) {
	for line, want := range map[string]Probe{
		"S1,S22 pod pe1 -> tcp 10.96.0.1:80 = pe1:8080* nb1:8080 even": {
			Rules: []string{"S1", "S22"}, From: "pod", Source: "pe1", Protocol: "tcp", Verdict: Accepted, Even: true,
			Backends: []Backend{{"pe1:8080", true}, {"nb1:8080", false}}},
		"S7 outside 203.0.113.2 -> udp [fd00::1]:53 = dropped": {
			Rules: []string{"S7"}, From: "outside", Source: "203.0.113.2", Protocol: "udp", Verdict: Dropped},
		"S10 host -> sctp 10.96.0.1:80 = a:1 forgets=2s": {
			Rules: []string{"S10"}, From: "host", Protocol: "sctp", Verdict: Accepted, Sticky: true, Forgets: 2 * time.Second,
			Backends: []Backend{{"a:1", false}}},
	} {
		got, err := parseProbe(line)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Probe{}, "Text", "Destination")); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", line, err, diff)
		}
	}
}

func TestBadProbesSayWhatWasExpected(t *testing.T) {
	for line, want := range map[string]string{
		"pod pc1 -> tcp 10.96.0.1:80 = refused":            "expected: S1 pod|host|outside",
		"S1 pod -> tcp 10.96.0.1:80 = refused":             "expected the name of a place",
		"S1 pod pc1 -> tcp 10.96.0.1 = refused":            "destination",
		"S1 pod pc1 -> tcp 10.96.0.1:80 = refuse":          "expected a backend",
		"S1 pod pc1 -> tcp 10.96.0.1:80 = refused a:80":    `"a:80" after "refused"`,
		"S1 pod pc1 -> tcp 10.96.0.1:80 = sticky":          "expected backends",
		"S1 pod pc1 -> tcp 10.96.0.1:80 = a:1 forgets=now": "invalid duration",
	} {
		if _, err := parseProbe(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", line, err, want)
		}
	}
}

const story = `Somebody appears.
-- node.yaml --
kind: Node
metadata: {name: node-a}
---
# nothing
-- proxy.yaml --
clusterCIDR: 10.0.0.0/8
featureGates: {AllowServiceExternalIPs: false}
-- probes --
S1 host -> tcp 10.96.0.1:80 = untouched
-- step 2/service.yaml --
kind: Service
metadata: {name: web}
-- step 2/node-addresses --
10.0.0.1 fd00::1
-- step 2/probes --
# a comment
S1 host -> tcp 10.96.0.1:80 = refused # another
-- step 3/node.yaml --
-- step 3/probes --
S1 host -> tcp 10.96.0.1:80 = refused
`

func TestStepsTakeOverWhatTheyDoNotReplace(t *testing.T) {
	s, err := parse(txtar.Parse([]byte(story)), map[string][]byte{"cluster.yaml": []byte("kind: Node\n")})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Steps) != 3 {
		t.Fatalf("%d steps", len(s.Steps))
	}
	for i, want := range []struct{ nodes, services, addresses, line int }{{2, 0, 0, 1}, {2, 1, 2, 2}, {1, 1, 2, 1}} {
		step := s.Steps[i]
		got := struct{ nodes, services, addresses, line int }{
			len(step.Cluster.Nodes), len(step.Cluster.Services), len(step.Addresses), step.Probes[0].Line}
		if got != want {
			t.Errorf("step %d: got %+v, want %+v", i+1, got, want)
		}
		if len(step.Config.ClusterCIDRs) != 1 || !step.Config.IgnoreExternalIPs || len(step.Probes) != 1 {
			t.Errorf("step %d: %+v", i+1, step)
		}
	}
}

func TestBadScenariosSayWhatWasExpected(t *testing.T) {
	const probes = "-- probes --\nS1 host -> tcp 10.96.0.1:80 = refused\n"
	for text, want := range map[string]string{
		probes:                                         "does not say what it is about",
		"About.\n":                                     "step 1 has no probes and asks",
		"About.\n-- x --\n" + probes:                   "expected *.yaml",
		"About.\n-- step 3/x.yaml --\n":                "comes after step 1",
		"About.\n-- part 2/x.yaml --\n":                "expected a name, or step N/name",
		"About.\n-- x.yaml --\nkind: Pod":              "expected Service, EndpointSlice, Node or ServiceCIDR",
		"About.\n-- x.yaml --\nkind: Node\nmeta: {}":   "unknown field",
		"About.\n-- node-addresses --\n1.2.3\n":        "IPv4 address too short",
		"About.\n-- proxy.yaml --\nclusterCIDR: here ": "here",
	} {
		if _, err := parse(txtar.Parse([]byte(text)), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror %v, want %q", text, err, want)
		}
	}
}

func TestAsks(t *testing.T) {
	got, err := parseAsks("# nobody\nS66,S67 outside 203.0.113.2 -> http://192.168.0.2:32000/ = 200 \"localEndpoints\":2 X:1\nS69 host -> http://192.168.0.2:32000/ = closed\n")
	want := []Ask{
		{Rules: []string{"S66", "S67"}, From: "outside", Source: "203.0.113.2", URL: "http://192.168.0.2:32000/", Status: 200, Has: []string{`"localEndpoints":2`, "X:1"}},
		{Rules: []string{"S69"}, From: "host", Source: "host", URL: "http://192.168.0.2:32000/"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Ask{}, "Text"), cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for line, want := range map[string]string{
		"S66 outside -> http://192.168.0.2:32000/ = 200":      "expected the name of a place",
		"S66 outside x -> ftp://192.168.0.2:32000/ = 200":     "expected: S1",
		"S66 outside x -> http://192.168.0.2:32000/ = opened": "expected: S1",
	} {
		if _, err := parseAsks(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", line, err, want)
		}
	}
}
