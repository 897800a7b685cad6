package check

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestEachCheckIsExplained in the page that its finding points to, under its ID, in the
// order of the list.
func TestEachCheckIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/reference/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained, listed []string
	for _, section := range regexp.MustCompile(`(?m)^### `).Split(string(page), -1)[1:] {
		id, text, _ := strings.Cut(section, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		explained = append(explained, id)
		if len(strings.Fields(text)) < 6 {
			t.Errorf("%s: %q: expected what is looked at and why", id, strings.TrimSpace(text))
		}
	}
	var o options
	o.server.Timeout = 1
	for _, c := range o.checks(t.Context(), pflag.NewFlagSet("", pflag.ContinueOnError)) {
		if slices.Contains(listed, c.ID) {
			t.Errorf("%s is there twice", c.ID)
		}
		listed = append(listed, c.ID)
		if !strings.HasSuffix(c.Documentation(), "docs/reference/checks.md#"+c.ID) {
			t.Errorf("%s: %s", c.ID, c.Documentation())
		}
	}
	if diff := cmp.Diff(listed, explained); diff != "" {
		t.Errorf("checks and their explanations differ:\n%s", diff)
	}
	const promised = 40
	if len(listed) < promised {
		t.Errorf("%d checks: expected %d or more", len(listed), promised)
	}
}
