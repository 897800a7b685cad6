package objects

import (
	"fmt"
	"strings"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Error says why an object cannot be used as a whole.
type Error struct {
	// Problems has at least one element.
	Problems []model.Problem
}

// Error returns the problems, one after the other.
func (e *Error) Error() string {
	list := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		list[i] = problem.String()
	}
	return strings.Join(list, "; ")
}

// ServiceName names a Service in problems.
func ServiceName(key model.Key) string { return "Service " + key.String() }

// SliceName names an EndpointSlice in problems.
func SliceName(key model.Key) string { return "EndpointSlice " + key.String() }

// NodeName names a Node in problems.
func NodeName(name string) string { return "Node " + name }

// ServiceCIDRName names a ServiceCIDR in problems.
func ServiceCIDRName(name string) string { return "ServiceCIDR " + name }

// maxSkipped bounds how many problems of one object are kept: a slice can have a
// thousand endpoints, and one line says what is wrong with all of them.
const maxSkipped = 10

// report gathers what is wrong with one object.
type report struct {
	object string
	// fatal problems make the object unusable; skipped ones only a part of it.
	fatal, skipped []model.Problem
	more           int
}

// fail refuses the object.
func (r *report) fail(field, value, format string, args ...any) {
	if len(r.fatal) < maxSkipped {
		r.fatal = append(r.fatal, r.problem(field, value, format, args...))
	}
}

// skip leaves out a part of the object.
func (r *report) skip(field, value, format string, args ...any) {
	if len(r.skipped) == maxSkipped {
		r.more++
		return
	}
	r.skipped = append(r.skipped, r.problem(field, value, format, args...))
}

func (r *report) problem(field, value, format string, args ...any) model.Problem {
	return model.Problem{Object: r.object, Field: field, Value: value, Message: fmt.Sprintf(format, args...)}
}

// err returns the refusal, or nil. It has the type error so that nil is nil.
func (r *report) err() error {
	if len(r.fatal) == 0 {
		return nil
	}
	return &Error{Problems: r.fatal}
}

// problems returns what was skipped, ending in a line for what is not listed.
func (r *report) problems() []model.Problem {
	if r.more == 0 {
		return r.skipped
	}
	return append(r.skipped, r.problem("", "", "and %d more", r.more))
}
