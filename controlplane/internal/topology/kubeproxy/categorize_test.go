// Package kubeproxy compares with kube-proxy's own code: package topology with its
// choice of endpoints, the list of metrics that the agent holds to with its metrics, and
// the flags that are imported with its flags.
package kubeproxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/proxy"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/topology"
)

// inputs is how many random inputs are compared. There is no known difference.
const inputs = 200_000

// endpoint is a model.Endpoint as kube-proxy sees it from one node.
type endpoint struct {
	model.Endpoint
	index int
	here  string
}

func (e endpoint) String() string              { return fmt.Sprint(e.index) }
func (e endpoint) IP() string                  { return "" }
func (e endpoint) Port() int                   { return 0 }
func (e endpoint) IsLocal() bool               { return e.Node == e.here }
func (e endpoint) IsReady() bool               { return e.Ready }
func (e endpoint) IsServing() bool             { return e.Serving }
func (e endpoint) IsTerminating() bool         { return e.Terminating }
func (e endpoint) ZoneHints() sets.Set[string] { return sets.New(e.Endpoint.ZoneHints...) }
func (e endpoint) NodeHints() sets.Set[string] { return sets.New(e.Endpoint.NodeHints...) }

// bothPolicies is a Service port that uses Cluster and Local traffic policy, so
// that kube-proxy computes both lists.
type bothPolicies struct{ proxy.ServicePort }

func (bothPolicies) String() string             { return "demo/web" }
func (bothPolicies) UsesClusterEndpoints() bool { return true }
func (bothPolicies) UsesLocalEndpoints() bool   { return true }

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// random returns candidates of which hints are often complete: else topology would
// hardly ever apply.
func random(r *rand.Rand) []model.Endpoint {
	candidates := make([]model.Endpoint, r.IntN(7))
	hintZones, hintNodes := r.IntN(10), r.IntN(10)
	for i := range candidates {
		e := &candidates[i]
		e.Node = pick(r, "", "a", "b", "c")
		e.Ready, e.Serving, e.Terminating = r.IntN(3) > 0, r.IntN(3) > 0, r.IntN(3) == 0
		if r.IntN(10) < hintZones {
			e.ZoneHints = pick(r, []string{"z1"}, []string{"z2"}, []string{"z1", "z2"})
		}
		if r.IntN(10) < hintNodes {
			e.NodeHints = pick(r, []string{"a"}, []string{"b"}, []string{"a", "b"})
		}
	}
	return candidates
}

func TestTheChoiceIsKubeProxys(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	topologies := map[string]int{}
	for n := range inputs {
		candidates := random(r)
		node, zone := pick(r, "a", "b", "c"), pick(r, "", "z1", "z2", "z3")
		decision := topology.Decide(candidates)
		cluster, local, anywhere := theirs(candidates, node, zone)
		ours := decision.For(node, zone)
		if !slices.Equal(ours, cluster) || !slices.Equal(decision.Local[node], local) || (len(decision.Cluster) > 0) != anywhere {
			t.Fatalf("seed %d, input %d: node %s in zone %q, candidates %+v\nours   cluster %v, local %v, any %v\ntheirs cluster %v, local %v, any %v",
				seed, n, node, zone, candidates, ours, decision.Local[node], len(decision.Cluster) > 0, cluster, local, anywhere)
		}
		topologies[kind(&decision, node, zone)]++
	}
	t.Logf("%d inputs agree (seed %d): %v", inputs, seed, topologies)
	for _, kind := range []string{"none", "node", "zone", "terminating", "everywhere"} {
		if topologies[kind] < inputs/200 {
			t.Errorf("only %d inputs come to %q: the comparison says little", topologies[kind], kind)
		}
	}
}

// kind says by which rule a decision was made, to see that all are compared.
func kind(d *topology.Decision, node, zone string) string {
	_, byNode := d.Preferred[node]
	_, byZone := d.Zones[zone]
	switch {
	case len(d.Cluster) == 0:
		return "none"
	case d.Terminating:
		return "terminating"
	case byNode:
		return "node"
	case byZone:
		return "zone"
	default:
		return "everywhere"
	}
}

func theirs(candidates []model.Endpoint, node, zone string) (cluster, local []int, anywhere bool) {
	endpoints := make([]proxy.Endpoint, len(candidates))
	for i := range candidates {
		endpoints[i] = endpoint{candidates[i], i, node}
	}
	labels := map[string]string{}
	if zone != "" {
		labels[v1.LabelTopologyZone] = zone
	}
	c, l, _, anywhere := proxy.CategorizeEndpoints(endpoints, bothPolicies{}, node, labels)
	return indexes(c), indexes(l), anywhere
}

func indexes(list []proxy.Endpoint) []int {
	var out []int
	for _, e := range list {
		out = append(out, e.(endpoint).index)
	}
	return out
}
