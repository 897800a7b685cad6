package sysctl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Change is a file and the number that it was given.
type Change struct {
	Path          string
	Before, After int
}

// String returns "nf_conntrack_max=131072 (was 65536)".
func (c Change) String() string {
	return fmt.Sprintf("%s=%d (was %d)", c.Path[strings.LastIndexByte(c.Path, '/')+1:], c.After, c.Before)
}

// Report says what became of a configuration.
type Report struct {
	Set []Change
	// Right is how many settings were as they should be.
	Right int
	// Failures name file, value and what it was, where that could be read.
	Failures []error
}

// And returns what both reports say.
func (r Report) And(o Report) Report {
	return Report{Set: slices.Concat(r.Set, o.Set), Right: r.Right + o.Right, Failures: slices.Concat(r.Failures, o.Failures)}
}

// Err returns all failures as one error, or nil.
func (r Report) Err() error { return errors.Join(r.Failures...) }

// String returns what was set, in a line.
func (r Report) String() string {
	switch {
	case len(r.Set) == 0 && r.Right == 0:
		return "no settings are configured"
	case len(r.Set) == 0:
		return fmt.Sprintf("nothing to set: %d settings are as they should be", r.Right)
	}
	list := make([]string, len(r.Set))
	for i, change := range r.Set {
		list[i] = change.String()
	}
	text := "set " + strings.Join(list, ", ")
	if r.Right > 0 {
		text += fmt.Sprintf("; %d more are as they should be", r.Right)
	}
	return text
}
