// Package top is `portolan top`: which nodes and Services take most.
package top

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// Command returns the command.
func Command() *cobra.Command {
	command := &cobra.Command{
		Use:   "top nodes|services",
		Short: "Show which nodes and Services take most",
		Example: `  portolan top nodes
  portolan top nodes --sort-by apply --watch
  portolan top services --node node-a
  portolan top nodes --sort-by behind --limit 5 -o json`,
	}
	command.AddCommand(nodesCommand(time.Now), servicesCommand())
	return command
}

// options are what both have.
type options struct {
	server ask.Flags
	sortBy string
	most   int
	watch  bool
	every  time.Duration
	format output.Format
}

// register adds the flags; the first of the columns that can be sorted by is the default.
func (o *options) register(command *cobra.Command, columns []column) {
	flags, names := command.Flags(), sortable(columns)
	flags.StringVar(&o.sortBy, "sort-by", names[0], "column to sort by, what takes most first: "+strings.Join(names, ", "))
	flags.IntVar(&o.most, "limit", 20, "how many rows; 0: all")
	flags.BoolVarP(&o.watch, "watch", "w", false, "show it again and again")
	flags.DurationVar(&o.every, "interval", 2*time.Second, "between two looks")
	_ = command.RegisterFlagCompletionFunc("sort-by", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	o.server.Register(flags)
	o.format.Register(command)
}

// column is a column of a table of rows.
type column struct {
	heading string
	cell    func(row) string
	// less orders rows; nil is a column that nobody sorts by. What takes most comes last.
	less func(a, b row) bool
}

// key is what --sort-by calls it.
func (c column) key() string { return strings.ToLower(c.heading) }

// sortable returns what --sort-by takes.
func sortable(columns []column) []string {
	var names []string
	for _, c := range columns {
		if c.less != nil {
			names = append(names, c.key())
		}
	}
	return names
}

// find returns the column to sort by.
func (o *options) find(columns []column) (column, error) {
	for _, c := range columns {
		if c.less != nil && c.key() == o.sortBy {
			return c, nil
		}
	}
	return column{}, fmt.Errorf("--sort-by %q: expected one of %s", o.sortBy, strings.Join(sortable(columns), ", "))
}

// show shows tables, once or until the context ends.
func (o *options) show(command *cobra.Command, look func(context.Context) (string, error)) error {
	ctx, out := command.Context(), command.OutOrStdout()
	for {
		text, err := look(ctx)
		if ctx.Err() != nil && o.watch {
			return nil
		}
		if err != nil {
			return err
		}
		if o.watch && o.format == output.Table && output.IsTerminal(out) {
			const home = "\x1b[H\x1b[2J"
			text = home + text
		}
		if _, err := io.WriteString(out, text); err != nil || !o.watch {
			return err
		}
		if !pause(ctx, o.every) {
			return nil
		}
	}
}

// pause waits; it tells whether the context goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
