package check

import (
	"fmt"
	"slices"
	"strings"
)

// Selection says which checks to run, by their IDs and groups.
type Selection struct {
	// Only are those to run; none means all. Skip are those not to run.
	Only, Skip []string
}

// Of returns the checks that are selected, in their order. A name that none of them has is
// an error.
func (s Selection) Of(checks []Check, known []Definition) ([]Check, error) {
	for flag, names := range map[string][]string{"--only": s.Only, "--skip": s.Skip} {
		for _, name := range names {
			if !slices.ContainsFunc(known, func(d Definition) bool { return d.is(name) }) {
				return nil, fmt.Errorf("%s %q: expected the ID of a check, or one of the groups %s; see --list", flag, name, strings.Join(groups(known), ", "))
			}
		}
	}
	named := func(names []string, d Definition) bool { return slices.ContainsFunc(names, d.is) }
	var list []Check
	for _, c := range checks {
		if (len(s.Only) == 0 || named(s.Only, c.Definition)) && !named(s.Skip, c.Definition) {
			list = append(list, c)
		}
	}
	return list, nil
}

// is tells whether a name means the check, or its group.
func (d Definition) is(name string) bool { return name == d.ID || name == d.Group }

// groups returns the groups in the order of their first checks.
func groups(of []Definition) []string {
	var list []string
	for _, d := range of {
		if !slices.Contains(list, d.Group) {
			list = append(list, d.Group)
		}
	}
	return list
}
