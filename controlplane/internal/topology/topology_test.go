package topology

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func ready(node string) model.Endpoint {
	return model.Endpoint{Node: node, Ready: true, Serving: true}
}

func terminating(node string) model.Endpoint {
	return model.Endpoint{Node: node, Serving: true, Terminating: true}
}

func zoned(e model.Endpoint, zones ...string) model.Endpoint {
	e.ZoneHints = zones
	return e
}

func noded(e model.Endpoint, nodes ...string) model.Endpoint {
	e.NodeHints = nodes
	return e
}

func TestDecide(t *testing.T) {
	tests := map[string]struct {
		candidates []model.Endpoint
		want       Decision
	}{
		"ready endpoints are used": {
			[]model.Endpoint{ready("a"), ready("b")},
			Decision{Cluster: []int{0, 1}, Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"an endpoint that is neither ready nor terminating is never used": {
			[]model.Endpoint{ready("a"), {Node: "a", Serving: true}},
			Decision{Cluster: []int{0}, Local: map[string][]int{"a": {0}}},
		},
		"nor is it when nothing is ready": {
			[]model.Endpoint{{Node: "a", Serving: true}},
			Decision{},
		},
		"a terminating endpoint that does not serve is never used": {
			[]model.Endpoint{{Node: "a", Terminating: true}},
			Decision{},
		},
		"ready wins over terminating and over not serving": {
			[]model.Endpoint{{Node: "a", Ready: true, Terminating: true}, terminating("a")},
			Decision{Cluster: []int{0}, Local: map[string][]int{"a": {0}}},
		},
		"without a ready endpoint the terminating ones are used": {
			[]model.Endpoint{terminating("a"), {Node: "b"}},
			Decision{Cluster: []int{0}, Terminating: true, Local: map[string][]int{"a": {0}}},
		},
		"the local fallback is decided apart from the cluster's": {
			[]model.Endpoint{terminating("a"), ready("b")},
			Decision{Cluster: []int{1}, Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"an endpoint without node is local nowhere": {
			[]model.Endpoint{ready("")},
			Decision{Cluster: []int{0}},
		},
		"zone hints on all ready endpoints narrow by zone": {
			[]model.Endpoint{zoned(ready("a"), "z1"), zoned(ready("b"), "z1", "z2")},
			Decision{Cluster: []int{0, 1}, Zones: map[string][]int{"z1": {0, 1}, "z2": {1}},
				Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"one ready endpoint without a zone hint switches zones off": {
			[]model.Endpoint{zoned(ready("a"), "z1"), ready("b")},
			Decision{Cluster: []int{0, 1}, Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"hints of endpoints that are not ready do not count": {
			[]model.Endpoint{zoned(ready("a"), "z1"), terminating("b")},
			Decision{Cluster: []int{0}, Zones: map[string][]int{"z1": {0}},
				Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"the terminating fallback ignores topology": {
			[]model.Endpoint{zoned(terminating("a"), "z1"), zoned(terminating("b"), "z2")},
			Decision{Cluster: []int{0, 1}, Terminating: true, Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"a hint given twice counts once": {
			[]model.Endpoint{zoned(noded(ready("a"), "a", "a"), "z1", "z1"), zoned(noded(ready("b"), "a"), "z1")},
			Decision{Cluster: []int{0, 1}, Zones: map[string][]int{"z1": {0, 1}}, Preferred: map[string][]int{"a": {0, 1}},
				Local: map[string][]int{"a": {0}, "b": {1}}},
		},
		"node hints narrow by node": {
			[]model.Endpoint{noded(ready("a"), "a"), noded(ready("b"), "b", "c")},
			Decision{Cluster: []int{0, 1}, Preferred: map[string][]int{"a": {0}, "b": {1}, "c": {1}},
				Local: map[string][]int{"a": {0}, "b": {1}}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Decide(test.candidates)
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestHintsWithoutANameNameNobody: a node that is not known, or has no zone, uses
// everything (S79).
func TestHintsWithoutANameNameNobody(t *testing.T) {
	d := Decide([]model.Endpoint{noded(zoned(ready("a"), ""), ""), noded(zoned(ready("b"), "z1"), "b")})
	if diff := cmp.Diff([]int{0, 1}, d.For("", "")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestFor(t *testing.T) {
	d := Decide([]model.Endpoint{
		noded(zoned(ready("a"), "z1"), "a"),
		noded(zoned(ready("b"), "z2"), "b"),
	})
	tests := map[string]struct {
		node, zone string
		want       []int
	}{
		"a named node uses what names it":           {"a", "z2", []int{0}},
		"another node of a named zone uses zone's":  {"x", "z2", []int{1}},
		"a node of an unnamed zone uses everything": {"x", "z3", []int{0, 1}},
		"a node without zone uses everything":       {"x", "", []int{0, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, d.For(test.node, test.zone)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
