package conformance

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// The endpoints of the Service of these tests, by the names of their places.
var fleet = []struct{ name, address, node string }{
	{"pe1", "10.244.1.21", "node-a"}, {"pe2", "10.244.1.22", "node-a"}, {"nb1", "10.244.2.31", "node-b"}, {"nc1", "10.244.3.41", "node-c"},
}

const clusterIP = "10.96.0.1"

// cluster is a Service with some of the fleet, and how it is balanced.
type cluster struct {
	// mode is nftables or ipvs, strictARP the configuration's.
	mode, scheduler, weights string
	strictARP                bool
	affinity                 bool
	endpoints                []string
}

// step returns the state as a scenario's.
func (c cluster) step(t *testing.T) *scenario.Step {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "A cluster.\n\n-- proxy.yaml --\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"+
		"mode: %s\nipvs: {strictARP: %v}\nclusterCIDR: 10.244.0.0/16,fd00:10:244::/48\nnodePortAddresses: [primary]\n", c.mode, c.strictARP)
	affinity := "None"
	if c.affinity {
		affinity = "ClientIP"
	}
	annotations := map[string]string{}
	if c.scheduler != "" {
		annotations["portolan.net/scheduler"] = c.scheduler
	}
	if c.weights != "" {
		annotations["portolan.net/weights"] = c.weights
	}
	fmt.Fprintf(&b, "-- service.yaml --\napiVersion: v1\nkind: Service\nmetadata:\n  namespace: demo\n  name: web\n  annotations: {")
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&b, "%s: %q, ", name, annotations[name])
	}
	fmt.Fprintf(&b, "}\nspec: {type: NodePort, clusterIP: %s, clusterIPs: [%s], ipFamilies: [IPv4], sessionAffinity: %s,\n"+
		"  ports: [{name: http, port: 80, nodePort: 30080}, {name: dns, protocol: UDP, port: 53}]}\n", clusterIP, clusterIP, affinity)
	b.WriteString("-- endpoints.yaml --\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" +
		"metadata: {namespace: demo, name: web-1, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\n" +
		"ports: [{name: http, protocol: TCP, port: 8080}, {name: dns, protocol: UDP, port: 5353}]\nendpoints:\n")
	for _, e := range fleet {
		if slices.Contains(c.endpoints, e.name) {
			fmt.Fprintf(&b, "- {addresses: [%s], nodeName: %s}\n", e.address, e.node)
		}
	}
	b.WriteString("-- probes --\nS1 pod pc1 -> tcp " + clusterIP + ":80 = refused\n") // Not sent: a scenario must have one.
	directory := t.TempDir()
	for _, name := range []string{"cluster.yaml", "proxy.yaml"} {
		content, err := os.ReadFile(filepath.Join("scenarios", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(directory, "story.txtar"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := scenario.Load(directory)
	if err != nil {
		t.Fatal(err)
	}
	return &all[0].Steps[0]
}

// everybody is the whole fleet.
func everybody() []string {
	var names []string
	for _, e := range fleet {
		names = append(names, e.name)
	}
	return names
}

// stage is a lab with a live cluster, in which one state follows the other.
type stage struct {
	*world
	t *testing.T
}

func newStage(t *testing.T) *stage {
	t.Helper()
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	v, err := newLive(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.stop() })
	return &stage{world: &world{Lab: l, listening: map[string]bool{}, proxy: v}, t: t}
}

// is puts a state in force.
func (s *stage) is(c cluster) {
	s.t.Helper()
	step := c.step(s.t)
	if err := s.serve(step); err != nil {
		s.t.Fatal(err)
	}
	s.proxy.enforce(s.t, step)
}

// hold makes n connections from a place and keeps them.
func (s *stage) hold(from, to string, n int) []*talk.Held {
	s.t.Helper()
	place, err := s.Find(from)
	if err != nil {
		s.t.Fatal(err)
	}
	var list []*talk.Held
	for range n {
		err := place.In.Do(func() error {
			h, err := talk.Hold(talk.Call{Protocol: "tcp", Source: place.Of(netip.MustParseAddr(clusterIP)),
				Destination: netip.MustParseAddrPort(to), Patience: patience})
			if err == nil {
				list = append(list, h)
			}
			return err
		})
		if err != nil {
			s.t.Fatalf("connection %d from %s: %v", len(list), from, err)
		}
	}
	return list
}

// shares counts the connections of each endpoint.
func shares(held []*talk.Held) map[string]int {
	counts := map[string]int{}
	for _, h := range held {
		for _, e := range fleet {
			if h.Backend.Addr().String() == e.address {
				counts[e.name]++
			}
		}
	}
	return counts
}

func hangUpAll(held []*talk.Held) {
	for _, h := range held {
		h.Close()
	}
}
