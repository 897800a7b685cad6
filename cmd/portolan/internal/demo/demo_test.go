package demo

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// TestDemo builds the program and runs the whole demo.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "portolan")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/portolan-net/portolan/cmd/portolan").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	temporary := t.TempDir()
	command := exec.CommandContext(ctx, binary, "demo")
	command.Env = append(os.Environ(), "TMPDIR="+temporary)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	out, err := command.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "✓ 12 steps as expected"; !bytes.Contains(out, []byte(want)) {
		t.Errorf("%q is not in the output", want)
	}
	if bytes.Contains(out, []byte("\x1b[")) {
		t.Error("colours without a terminal")
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAddressesAreOutsideOfWhatClustersOftenUseForServices(t *testing.T) {
	common := netip.MustParsePrefix("10.96.0.0/12")
	topology := newTopology()
	for _, p := range topology.pods {
		if common.Contains(netip.MustParseAddr(p.addresses.v4)) || !netip.MustParsePrefix(p.node.podCIDRs.v6).Contains(netip.MustParseAddr(p.addresses.v6)) {
			t.Errorf("pod %s has %v", p.name, p.addresses)
		}
	}
	if len(topology.pods) != 6 || topology.pod("c2").node != topology.node("c") {
		t.Errorf("%d pods", len(topology.pods))
	}
}

func TestManifestsAreWhatKubernetesWouldTake(t *testing.T) {
	kinds := map[string]int{}
	for name, content := range manifestFiles(newTopology()) {
		for document := range strings.SplitSeq(content, "---\n") {
			var head struct{ Kind string }
			if err := yaml.Unmarshal([]byte(document), &head); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			kinds[head.Kind]++
			into := map[string]any{"Node": &corev1.Node{}, "Service": &corev1.Service{}, "EndpointSlice": &discoveryv1.EndpointSlice{}}[head.Kind]
			if into == nil {
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
				t.Errorf("%s: %v in\n%s", name, err, document)
			}
		}
	}
	if kinds["Node"] != 3 || kinds["Service"] != 4 || kinds["EndpointSlice"] != 4 || kinds["ServiceCIDR"] != 1 {
		t.Errorf("%v", kinds)
	}
}

func TestEndpointsAreListedAsTold(t *testing.T) {
	topology := newTopology()
	var slice discoveryv1.EndpointSlice
	text := topology.webEndpoints(listing{"a1": absent, "a2": notReady, "b1": terminating}, true)
	if err := yaml.UnmarshalStrict([]byte(text), &slice); err != nil {
		t.Fatal(err)
	}
	if len(slice.Endpoints) != 5 || *slice.Endpoints[0].Conditions.Ready || !*slice.Endpoints[1].Conditions.Terminating || !*slice.Endpoints[2].Conditions.Ready {
		t.Errorf("%s", text)
	}
	if hint := slice.Endpoints[4].Hints.ForZones[0].Name; hint != "zone-b" {
		t.Errorf("hint %s of c2", hint)
	}
}

func TestEditsNeverLeaveAServiceWithoutPodsAndEndWithAll(t *testing.T) {
	pods := newTopology().pods
	list := edits(pods)
	away := map[string]bool{}
	for _, e := range list {
		left := 0
		for _, p := range pods {
			if e.next[p.name] == ready {
				left++
			} else {
				away[p.name] = true
			}
		}
		if left == 0 {
			t.Errorf("%s: no pod is left", e.what)
		}
	}
	if len(list) != 20 || len(away) != len(pods) || len(list[len(list)-1].next) != 0 {
		t.Errorf("%d edits of %d pods, the last %v", len(list), len(away), list[len(list)-1])
	}
}

func TestOutcomesLeaveOutNodesForWhichNothingChanged(t *testing.T) {
	begun := time.Now()
	node := func(acked time.Duration, resources, bytes uint64) *introspectionv1.NodeStatus {
		return &introspectionv1.NodeStatus{AckedAt: timestamppb.New(begun.Add(acked)), SentResources: resources, SentBytes: bytes}
	}
	var o outcomes
	o.add(status{nodes: map[string]*introspectionv1.NodeStatus{"a": node(-time.Second, 10, 1000), "b": node(-time.Second, 10, 1000)}},
		status{nodes: map[string]*introspectionv1.NodeStatus{"a": node(3*time.Millisecond, 12, 1300), "b": node(-time.Second, 10, 1000)}}, begun)
	if len(o.latencies) != 1 || o.latencies[0] != 3*time.Millisecond || o.resources[0] != 2 || o.bytes[0] != 300 {
		t.Errorf("%+v", o)
	}
}

func TestReplaceLeavesNoDraft(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := replace(dir, "a.yaml", "kind: Service\n"); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := replace(filepath.Join(dir, "gone"), "a.yaml", ""); err == nil {
		t.Error("a directory that is not there is accepted")
	}
}
