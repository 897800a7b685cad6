// Package check says what a check is: something that is looked at, on a node or in a
// cluster, and what was found. Both halves of Portolan have checks; who runs them is
// elsewhere.
package check

import (
	"context"
	"fmt"
	"strings"
)

// Outcome is how a check ended.
type Outcome string

// The outcomes. A warning is for what works and should not stay; a skip says why nothing
// was looked at.
const (
	Pass Outcome = "pass"
	Warn Outcome = "warn"
	Fail Outcome = "fail"
	Skip Outcome = "skip"
)

// Scope is where a check looks.
type Scope string

// The scopes.
const (
	Node    Scope = "node"
	Cluster Scope = "cluster"
)

// When says whether a check is for before an installation.
type When uint8

const (
	// Always is for what must be so before and after.
	Always When = iota
	// Before is for what matters until Portolan is installed.
	Before
	// After is for what is there only then.
	After
)

// Definition says what a check looks at.
type Definition struct {
	// ID is its name, and the anchor of its documentation.
	ID    string `json:"id"`
	Scope Scope  `json:"scope"`
	Group string `json:"group"`
	// Title says what is expected, in a few words.
	Title string `json:"title"`
	When  When   `json:"-"`
}

// documentation is the page that has each check under its ID.
const documentation = "https://github.com/portolan-net/portolan/blob/main/docs/reference/checks.md#"

// Documentation returns where the check is explained.
func (d Definition) Documentation() string { return documentation + d.ID }

// Runs tells whether the check is for a run before an installation, or after.
func (d Definition) Runs(before bool) bool {
	return d.When == Always || (d.When == Before) == before
}

// Finding is what a check found.
type Finding struct {
	Outcome Outcome `json:"outcome"`
	// Message names object, field, value and expectation, in a sentence.
	Message string `json:"message"`
	// Advice says what to do, if there is something.
	Advice string `json:"advice,omitempty"`
}

// Passed says that all is as expected.
func Passed(format string, args ...any) Finding {
	return Finding{Outcome: Pass, Message: fmt.Sprintf(format, args...)}
}

// Warned says what should not stay.
func Warned(format string, args ...any) Finding {
	return Finding{Outcome: Warn, Message: fmt.Sprintf(format, args...)}
}

// Failed says what cannot work.
func Failed(format string, args ...any) Finding {
	return Finding{Outcome: Fail, Message: fmt.Sprintf(format, args...)}
}

// Skipped says why nothing was looked at.
func Skipped(format string, args ...any) Finding {
	return Finding{Outcome: Skip, Message: fmt.Sprintf(format, args...)}
}

// Do returns the finding with advice.
func (f Finding) Do(format string, args ...any) Finding {
	f.Advice = fmt.Sprintf(format, args...)
	return f
}

// Check is a check that can be run.
type Check struct {
	Definition
	// Look looks, and returns by the context's end.
	Look func(context.Context) Finding
}

// New returns a check, whose group is the first word of its ID.
func New(scope Scope, when When, id, title string, look func(context.Context) Finding) Check {
	group, _, _ := strings.Cut(id, "-")
	return Check{Definition{ID: id, Scope: scope, Group: group, Title: title, When: when}, look}
}

// Result is a check with what it found.
type Result struct {
	Definition
	Finding
	// Documentation is where the check is explained.
	Documentation string `json:"documentation"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
}

// OneLine returns an error's text without line breaks.
func OneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// Few joins the first of a list.
func Few(list []string) string {
	const shown = 6
	if len(list) <= shown {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), len(list)-shown)
}
