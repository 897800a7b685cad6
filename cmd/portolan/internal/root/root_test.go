package root

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/portolan-net/portolan/cmd/internal/commandpage/commandpagetest"
	"github.com/portolan-net/portolan/cmd/internal/shown/showntest"
)

func TestAsAPluginItCallsItselfSo(t *testing.T) {
	for program, want := range map[string]string{"/usr/bin/portolan": "portolan get nodes", "/usr/bin/kubectl-portolan": "kubectl portolan get nodes"} {
		nodes, _, err := Command(program).Find([]string{"get", "nodes"})
		if err != nil || nodes.CommandPath() != want {
			t.Errorf("%s: %q, error %v; want %q", program, nodes.CommandPath(), err, want)
		}
	}
}

// TestEveryCommandSaysWhatItDoes: what help shows, whoever asks for it.
func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	var check func(*cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q is no line of help", c.CommandPath(), c.Short)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s says nothing", c.CommandPath(), f.Name)
			}
		})
		for _, child := range c.Commands() {
			check(child)
		}
	}
	check(Command("portolan"))
}

func TestThePageOfReferenceIsTheHelp(t *testing.T) {
	// What the environment sets would be a default.
	for _, name := range []string{"PORTOLAN_SERVER", "PORTOLAN_TOKEN_FILE", "PORTOLAN_TLS_CA_FILE", "NODE_NAME"} {
		t.Setenv(name, "")
	}
	commandpagetest.Check(t, Command("portolan"), "../../../../docs/reference/commands")
}

// TestPagesShowWhatItTakes: each command line that a page shows.
func TestPagesShowWhatItTakes(t *testing.T) {
	showntest.Pages(t, "../../../..", "portolan", 150, func() *cobra.Command { return Command("portolan") })
}
