// Package demo is `portolan demo`: a cluster of three nodes in network namespaces,
// with a real control plane and real agents, real packets, and things that break.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/internal/agentcommand"
	"github.com/portolan-net/portolan/cmd/internal/controlplanecommand"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/report"
	"github.com/portolan-net/portolan/cmd/portolan/internal/sandbox"
)

type options struct {
	keep      bool
	skipSteps bool
}

// Command returns the command.
func Command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "demo",
		Short: "Show Portolan at work: a cluster on this machine, its traffic, and failures",
		Long: `Show Portolan at work: a cluster of three nodes on this machine, its traffic, and
what happens when endpoints change and programs are killed.

The nodes, their pods and a client on the "internet" are network namespaces. A control
plane and three agents run in them, the same programs as in a cluster. It needs no
root, nothing installed and no network, takes ten seconds, changes nothing outside of
its namespaces, and exits 1 if anything is not as expected.`,
		Example: `  portolan demo
  portolan demo --keep --skip-steps    # a cluster to play with, until Ctrl-C`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	flags := command.Flags()
	flags.BoolVar(&o.keep, "keep", false, "afterwards keep the cluster until Ctrl-C, and print what to try")
	flags.BoolVar(&o.skipSteps, "skip-steps", false, "with --keep: make the cluster and nothing else")
	command.AddCommand(inside("controlplane", controlplanecommand.New()), inside("agent", agentcommand.New()))
	return command
}

// inside makes a program a hidden subcommand, so that one file is all that is needed.
func inside(name string, command *cobra.Command) *cobra.Command {
	command.Use, command.Hidden = name, true
	return command
}

// theDemo is what this program is called in advice.
const theDemo = "the demo"

func (o *options) run(command *cobra.Command) error {
	if o.skipSteps && !o.keep {
		return errors.New("--skip-steps without --keep: expected both, there would be nothing to see")
	}
	if directory := sandbox.Directory(); directory != "" {
		ok, err := o.inside(command.Context(), command.OutOrStdout(), directory)
		if err == nil && !ok {
			os.Exit(1) // All is said but where the logs are, which is said outside.
		}
		return err
	}
	return o.outside(command.Context())
}

// outside runs the same command in namespaces and cleans up after it.
func (o *options) outside(ctx context.Context) error {
	directory, err := os.MkdirTemp("", "portolan-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	err = sandbox.Run(ctx, sandbox.Config{What: theDemo, Arguments: os.Args[1:], Directory: directory, Out: os.Stdout, Err: os.Stderr})
	switch {
	case errors.Is(err, sandbox.ErrFailed):
		return fmt.Errorf("not everything was as expected; logs and manifests are in %s", directory)
	case errors.Is(err, context.Canceled) && o.keep:
		err = nil // Ctrl-C is how it ends.
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	return errors.Join(err, os.RemoveAll(directory))
}

// inside runs the demo in the namespaces of its own and tells whether all went well.
func (o *options) inside(ctx context.Context, out io.Writer, directory string) (ok bool, err error) {
	r := report.New(out)
	l, err := newLab(directory, r)
	if err != nil {
		return false, err
	}
	defer l.close()
	r.Title("Portolan demo", "A cluster of three nodes in network namespaces; nothing outside of them is touched.")
	ok = l.steps(ctx, o.skipSteps)
	if ok && o.keep {
		l.keep(ctx)
	}
	return ok, nil
}
