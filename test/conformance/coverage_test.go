package conformance

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
)

var update = flag.Bool("update", false, "write docs/reference/conformance.md")

const (
	root      = "../.."
	semantics = root + "/docs/reference/semantics.md"
	table     = root + "/docs/reference/conformance.md"
)

// rule is a rule of docs/reference/semantics.md.
type rule struct {
	number int
	group  string
}

var (
	groupPattern = regexp.MustCompile(`^## (([A-Z])\. .*)$`)
	rulePattern  = regexp.MustCompile(`<a id="s(\d+)"></a>\*\*S(\d+)\*\*`)
)

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(semantics)
	if err != nil {
		t.Fatal(err)
	}
	var all []rule
	var group string
	for line := range strings.Lines(string(text)) {
		if m := groupPattern.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			group = m[1]
		}
		if m := rulePattern.FindStringSubmatch(line); m != nil {
			if m[1] != m[2] {
				t.Errorf("rule S%s has the anchor s%s", m[2], m[1])
			}
			number, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rule{number, group})
		}
	}
	return all
}

// shown counts the probes and asks that show a rule, by scenario.
func shown(t *testing.T) map[int]map[string]int {
	t.Helper()
	all := map[int]map[string]int{}
	for _, s := range loadScenarios(t) {
		for _, step := range s.Steps {
			for _, name := range named(&step) {
				number, err := strconv.Atoi(strings.TrimPrefix(name, "S"))
				if err != nil {
					t.Fatal(err)
				}
				if all[number] == nil {
					all[number] = map[string]int{}
				}
				all[number][s.Name]++
			}
		}
	}
	return all
}

// named are the rules that the lines of a step name.
func named(step *scenario.Step) []string {
	var rules []string
	for _, p := range step.Probes {
		rules = append(rules, p.Rules...)
	}
	for _, a := range step.Asks {
		rules = append(rules, a.Rules...)
	}
	return rules
}

// TestEveryRuleIsTestedOrSaidNotToBe also finds what is named and does not exist.
func TestEveryRuleIsTestedOrSaidNotToBe(t *testing.T) {
	probes, exists := shown(t), map[int]bool{}
	for _, r := range rules(t) {
		exists[r.number] = true
		if len(probes[r.number]) == 0 && elsewhere[r.number] == "" {
			t.Errorf("S%d has no probe: write one, or say in elsewhere where it is tested", r.number)
		}
	}
	for number := range probes {
		if !exists[number] {
			t.Errorf("a probe is said to show S%d, which does not exist", number)
		}
	}
	for number, entry := range elsewhere {
		tests, missing := splitElsewhere(entry)
		if !exists[number] || len(tests) == 0 && missing == "" {
			t.Errorf("S%d: %q", number, entry)
		}
		for _, test := range tests {
			if !testExists(t, test) {
				t.Errorf("S%d is said to be tested by %s, which does not exist", number, test)
			}
		}
	}
}

func testExists(t *testing.T, test string) bool {
	t.Helper()
	directory, name, _ := strings.Cut(test, " ")
	files, err := filepath.Glob(filepath.Join(root, directory, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && bytes.Contains(text, []byte("\nfunc "+name+"("))
	})
}

// TestTheTableIsUpToDate compares docs/reference/conformance.md with the scenarios.
func TestTheTableIsUpToDate(t *testing.T) {
	want := renderTable(t)
	if *update {
		if err := os.WriteFile(table, want, 0o644); err != nil { //nolint:gosec // Documentation.
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(table); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/reference/conformance.md is out of date (%v): go test ./test/conformance -run Table -update", err)
	}
}

func renderTable(t *testing.T) []byte {
	t.Helper()
	scenarios, probes, asks := 0, 0, 0
	for _, s := range loadScenarios(t) {
		scenarios++
		for _, step := range s.Steps {
			probes += len(step.Probes)
			asks += len(step.Asks)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# What is tested of it

Which test shows which rule of [what a Service must do](semantics.md). Scenarios are files of
[test/conformance/scenarios](../../test/conformance/scenarios), of which there are %d with %d probes: packets whose fate on
a real kernel, in the scenario and in the reference model (controlplane/reference) must be the same. Each is told twice: by
portolan apply, and by a control plane and an agent that run all the while and are asked as well (%d HTTP requests). While
one step follows another, witnesses see to it that nobody fails who may go on: new connections, established ones, UDP flows.
The number after a scenario is that of its probes and requests for the rule.

Written by `+"`go test ./test/conformance -run Table -update`"+`.
`, scenarios, probes, asks)
	shows, group := shown(t), ""
	for _, r := range rules(t) {
		if r.group != group {
			group = r.group
			fmt.Fprintf(&b, "\n## %s\n\n| rule | tested by |\n|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| [S%d](semantics.md#s%d) | %s |\n", r.number, r.number, strings.Join(testedBy(shows[r.number], r.number), "<br>"))
	}
	renderKnown(&b)
	return b.Bytes()
}

func testedBy(scenarios map[string]int, number int) []string {
	var cells []string
	for name, count := range scenarios {
		cells = append(cells, fmt.Sprintf("%s (%d)", name, count))
	}
	slices.Sort(cells)
	if len(cells) > 0 {
		cells = []string{strings.Join(cells, ", ")}
	}
	tests, missing := splitElsewhere(elsewhere[number])
	for _, test := range tests {
		cells = append(cells, "`"+test+"`")
	}
	if missing != "" {
		cells = append(cells, "**not yet**: "+missing)
	}
	return cells
}

func renderKnown(b *bytes.Buffer) {
	if len(knownFailures) == 0 {
		return
	}
	fmt.Fprint(b, "\n## Known failures\n\n| scenario and probe | reason |\n|---|---|\n")
	var lines []string
	for probe, reason := range knownFailures {
		lines = append(lines, fmt.Sprintf("| %s | %s |\n", probe, reason))
	}
	slices.Sort(lines)
	fmt.Fprint(b, strings.Join(lines, ""))
}
