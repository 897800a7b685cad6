// Package commandpagetest compares a program's page of reference with its help.
package commandpagetest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/internal/commandpage"
)

var update = flag.Bool("update", false, "write the page of reference")

// Check fails if the page, in a directory, is not what the program says; with -update it is
// written.
func Check(t *testing.T, program *cobra.Command, directory string) {
	t.Helper()
	path, page := filepath.Join(directory, program.Name()+".md"), commandpage.Page(program)
	if *update {
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), string(page)); diff != "" {
		t.Errorf("%s is not what the program says; go test with -update writes it (-page +program)\n%s", path, diff)
	}
}
