// Package commandpage writes a program's page of reference from its own help.
package commandpage

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Page returns the page of a program as Markdown: a section for each command, with its
// help as it is printed.
func Page(program *cobra.Command) []byte {
	var page strings.Builder
	fmt.Fprintf(&page, "# %s\n\n%s.\n\n<!-- Made from the program's help by a test of it, with -update -->\n", program.Name(), program.Short)
	section(&page, program)
	return []byte(page.String())
}

func section(page *strings.Builder, c *cobra.Command) {
	c.InitDefaultHelpFlag()
	if c.HasParent() {
		fmt.Fprintf(page, "\n## %s\n\n%s.\n", c.CommandPath(), c.Short)
	}
	if c.Long != "" {
		block(page, c.Long)
	}
	if c.Runnable() || c.HasAvailableSubCommands() {
		block(page, c.UsageString())
	}
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" && child.Name() != "completion" {
			section(page, child)
		}
	}
}

func block(page *strings.Builder, text string) {
	page.WriteString("\n```text\n")
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		page.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	page.WriteString("```\n")
}
