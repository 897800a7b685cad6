package cluster

import (
	"slices"
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func TestEachProblemIsObservedOnce(t *testing.T) {
	s := NewStore()
	var observed []string
	s.ObserveProblems(func(p model.Problem) { observed = append(observed, p.String()) })
	a := model.Problem{Object: "Service demo/web", Field: "spec.ports", Message: "bad"}
	b := model.Problem{Object: "Service demo/web", Value: "80000", Message: "too many", Reason: model.Exceeded}
	admission := func(list ...model.Problem) { s.Update(func(tx *Tx) { tx.SetProblems("Service demo/web", list) }) }
	admission(a)
	admission(a)
	s.SetProblems(Budget, "Service demo/web", []model.Problem{b})
	admission(a)
	admission()
	admission(a)
	want := []string{"Service demo/web: spec.ports: bad", `Service demo/web: "80000": too many`, "Service demo/web: spec.ports: bad"}
	if !slices.Equal(observed, want) {
		t.Errorf("observed %q, want %q", observed, want)
	}
	s.SetProblems(Budget, "Service demo/web", nil)
	if left := s.Problems(); len(left) != 1 || left[0] != a {
		t.Errorf("left %v, want what admission says", left)
	}
}
