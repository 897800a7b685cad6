package cluster

import (
	"slices"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Finder is who finds problems. Each speaks for itself: what one says of an object
// does not replace what another has said of it.
type Finder string

// The finders of problems.
const (
	// Admission looks at objects one by one and at the addresses that they claim.
	Admission Finder = "admission"
	// Budget looks at what a Service would cost every node.
	Budget Finder = "budget"
	// Configuration looks at the nodes' configuration file.
	Configuration Finder = "configuration"
	// Brake looks at how many Services are removed at once.
	Brake Finder = "brake"
)

// finding is one finder's word on one object.
type finding struct {
	by     Finder
	object string
}

// ObserveProblems has fn told of each problem that was not there before. It is
// called while the store is locked, so it must neither wait nor ask the store.
func (s *Store) ObserveProblems(fn func(model.Problem)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe = fn
}

// setProblems is called while the store is locked.
func (s *Store) setProblems(at finding, list []model.Problem) {
	before := s.problems[at]
	if s.problems[at] = list; len(list) == 0 {
		delete(s.problems, at)
	}
	if s.observe == nil {
		return
	}
	for _, problem := range list {
		if !slices.Contains(before, problem) {
			s.observe(problem)
		}
	}
}

// SetProblems replaces what admission says is wrong with an object; none means it
// is well.
func (t *Tx) SetProblems(object string, list []model.Problem) {
	t.s.setProblems(finding{Admission, object}, list)
}

// Problems returns what admission has said is wrong with an object.
func (t *Tx) Problems(object string) []model.Problem {
	return t.s.problems[finding{Admission, object}]
}

// SetProblems replaces what a finder says is wrong with an object, and returns what
// it had said. It is no change of the objects, so nobody compiles for it.
func (s *Store) SetProblems(by Finder, object string, list []model.Problem) (before []model.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.problems[finding{by, object}]
	s.setProblems(finding{by, object}, list)
	return before
}

// Problems returns what is not in force, ordered by object.
func (s *Store) Problems() []model.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []model.Problem
	for _, of := range s.problems {
		list = append(list, of...)
	}
	slices.SortFunc(list, func(a, b model.Problem) int {
		return model.Key{Namespace: a.Object, Name: a.Field}.Compare(model.Key{Namespace: b.Object, Name: b.Field})
	})
	return list
}
