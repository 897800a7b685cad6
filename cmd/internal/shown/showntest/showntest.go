// Package showntest holds a program against the pages.
package showntest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/internal/shown"
)

// Pages fails the test for each command line that a page shows of a program and that its command
// tree does not take. The pages of reference are made of its help, and not looked at. Root is the repository's directory, least how many lines there are at least.
func Pages(t *testing.T, root, program string, least int, tree func() *cobra.Command) {
	t.Helper()
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deploy/chart/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	lines := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range shown.Lines(string(text), program) {
			lines++
			if err := shown.Check(tree(), line); err != nil {
				t.Errorf("%s:%d: %s %s: %v", page, line.Number, program, strings.Join(line.Words, " "), err)
			}
		}
	}
	if lines < least {
		t.Errorf("pages show %d command lines of %s, expected at least %d", lines, program, least)
	}
}
