package property

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/agent/simulate"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane"
	"github.com/portolan-net/portolan/controlplane/reference"
)

var (
	localAddresses = addrs("192.168.0.2", "192.168.1.2", "198.51.100.11", "10.244.1.1", "fd00:168::2")
	clusterCIDRs   = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")}
)

func addrs(texts ...string) []netip.Addr {
	list := make([]netip.Addr, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddr(text)
	}
	return list
}

// setting is one configuration of the nodes.
type setting struct {
	proxyConfig string
	config      reference.Config
}

func settings(t *testing.T) map[string]setting {
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n"
	all := map[string]setting{
		"cluster CIDR": {"clusterCIDR: 10.244.0.0/16,fd00:10:244::/48",
			reference.Config{DetectLocal: reference.DetectClusterCIDR, ClusterCIDRs: clusterCIDRs}},
		"no detector": {"detectLocalMode: ClusterCIDR", reference.Config{}},
		"bridge, node ports by CIDR, masquerade all": {
			"detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\nnodePortAddresses: [192.168.1.0/24]\nnftables: {masqueradeAll: true}",
			reference.Config{DetectLocal: reference.DetectBridgeInterface, Interface: "cni0", NodePortAddresses: []string{"192.168.1.0/24"}, MasqueradeAll: true}},
		"node CIDR, node ports everywhere": {
			"detectLocalMode: NodeCIDR\nnodePortAddresses: [0.0.0.0/0, \"::/0\"]",
			reference.Config{DetectLocal: reference.DetectNodeCIDR, NodePortAddresses: []string{"0.0.0.0/0", "::/0"}}},
	}
	for name, s := range all {
		path := filepath.Join(t.TempDir(), "proxy.yaml")
		if err := os.WriteFile(path, []byte(head+s.proxyConfig+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.proxyConfig = path
		all[name] = s
	}
	return all
}

// world is a cluster with everything that is computed from it along the way.
type world struct {
	setting
	objects  map[string]metav1.Object
	offline  *controlplane.Offline
	follower *controlplane.Follower
	node     *simulate.Node
}

func newWorld(t *rapid.T, s setting) *world {
	w := &world{setting: s, objects: map[string]metav1.Object{}, node: simulate.NewNode(localAddresses)}
	var err error
	if w.offline, err = controlplane.NewOffline(controlplane.ProxyConfig{ProxyConfigPath: s.proxyConfig}); err != nil {
		t.Fatal(err)
	}
	follower, all, err := w.offline.Follow(here)
	if err != nil {
		t.Fatal(err)
	}
	w.follower = follower
	w.node.Apply(slices.Values(all), nil)
	return w
}

// edit makes a change of the cluster known.
func (w *world) edit(t *rapid.T, set, deleted []metav1.Object) {
	for _, o := range deleted {
		delete(w.objects, id(o))
	}
	for _, o := range set {
		w.objects[id(o)] = o
	}
	if err := w.offline.Update(set, deleted); err != nil {
		t.Fatal(err)
	}
	resources, removed, err := w.follower.Next()
	if err != nil {
		t.Fatal(err)
	}
	if rejected := w.node.Apply(slices.Values(resources), removed); len(rejected) > 0 {
		t.Fatalf("the node rejects %v", rejected)
	}
}

func id(o metav1.Object) string { return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName()) }

// anew computes everything again from the objects alone.
func (w *world) anew(t *rapid.T) *world {
	fresh := newWorld(t, w.setting)
	fresh.edit(t, slices.Collect(maps.Values(w.objects)), nil)
	return fresh
}

func (w *world) cluster() reference.Cluster {
	var c reference.Cluster
	for _, key := range slices.Sorted(maps.Keys(w.objects)) {
		switch o := w.objects[key].(type) {
		case *corev1.Service:
			c.Services = append(c.Services, *o)
		case *discoveryv1.EndpointSlice:
			c.Slices = append(c.Slices, *o)
		case *corev1.Node:
			c.Nodes = append(c.Nodes, *o)
		case *networkingv1.ServiceCIDR:
			c.ServiceCIDRs = append(c.ServiceCIDRs, *o)
		}
	}
	return c
}

// content returns all that the node is told, byte for byte.
func (w *world) content(t *rapid.T) string {
	_, resources, err := w.offline.Follow(here)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range resources {
		encoded, err := resource.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s %x", resource.KindName(resource.KindOf(r)), r.GetName(), encoded))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// manifest returns the cluster as YAML that portolan apply takes, to replay a
// failure.
func (w *world) manifest() string {
	text := ""
	for _, key := range slices.Sorted(maps.Keys(w.objects)) {
		content, err := yaml.Marshal(w.objects[key])
		if err != nil {
			return err.Error()
		}
		text += "---\n" + string(content)
	}
	return text
}

// check compares what the node does with every packet with what it must do.
func (w *world) check(t *rapid.T) {
	cluster, restored, anew := w.cluster(), w.offline.Cluster(), w.anew(t)
	if got, again := w.node.Ruleset(), anew.node.Ruleset(); got != again {
		t.Fatalf("the ruleset after all edits (-) is not the one made anew (+)\n%s\n%s", cmp.Diff(got, again), w.manifest())
	}
	if got, again := w.content(t), anew.content(t); got != again {
		t.Fatalf("what the node is told after all edits (-) is not what it is told anew (+)\n%s\n%s", cmp.Diff(got, again), w.manifest())
	}
	node := reference.Node{Name: here, LocalAddresses: append(addrs("127.0.0.1", "::1"), localAddresses...)}
	for _, p := range packets() {
		want := outcome(reference.Decide(cluster, w.config, node, p))
		got, again := simulated(w.node, p), simulated(anew.node, p)
		// What people are told is decided about objects that are turned back from the model.
		if told := outcome(reference.Decide(restored, w.config, node, p)); told != want {
			t.Fatalf("packet %+v\nmust be  %s\nis told  %s\n%s", p, want, told, w.manifest())
		}
		if got != want || again != want {
			t.Fatalf("packet %+v\nmust be          %s\nis               %s\nis, made anew,   %s\nproblems %q\n%s", p, want, got, again, w.offline.Problems(), w.manifest())
		}
	}
}

// outcome returns an outcome as text, so that both sides can be compared.
func outcome(o reference.Outcome) string {
	switch {
	case !o.Handled:
		return "untouched"
	case o.Verdict != reference.Accept:
		return string(o.Verdict)
	default:
		return served(o.Backends, o.Masquerade == reference.Masqueraded, o.Masquerade == reference.HairpinOnly, o.Sticky)
	}
}

func served(backends []netip.AddrPort, masquerade, hairpin bool, sticky time.Duration) string {
	sorted := slices.Clone(backends)
	slices.SortFunc(sorted, netip.AddrPort.Compare)
	return fmt.Sprint("to ", sorted, " masqueraded ", masquerade, " hairpin ", hairpin, " sticky ", sticky)
}

func simulated(node *simulate.Node, p reference.Packet) string {
	numbers := map[corev1.Protocol]uint8{corev1.ProtocolTCP: 6, corev1.ProtocolUDP: 17, corev1.ProtocolSCTP: 132}
	o := node.Decide(simulate.Packet{Source: p.Source, Interface: p.Interface, Protocol: numbers[p.Protocol], Destination: p.Destination})
	switch o.Verdict {
	case simulate.Served:
		return served(o.Backends, o.Masquerade, o.Hairpin, o.Sticky)
	case simulate.Rejected:
		return string(reference.Reject)
	case simulate.Dropped:
		return string(reference.Drop)
	default:
		return "untouched"
	}
}

// TestTheNodeDoesWhatTheReferenceSays edits random clusters at random. After every
// edit the node, which was told the change alone, must do with every packet what
// the reference model says, and so must a node that is told everything at once.
func TestTheNodeDoesWhatTheReferenceSays(t *testing.T) {
	for name, s := range settings(t) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(t, s)
				w.edit(t, []metav1.Object{nodeObject(here, "zone-a", 1), nodeObject("node-b", "zone-b", 2), serviceCIDR()}, nil)
				for range rapid.IntRange(1, 6).Draw(t, "edits") {
					set, deleted := randomEdit(t)
					w.edit(t, set, deleted)
					w.check(t)
				}
			})
		})
	}
}
