// Package program runs a command tree as a program: signals, errors, exit status.
package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/internal/version"
)

// Run runs the command with the process's arguments and returns the exit status:
// 0, or after an error, which is printed, 1 or what the error's ExitStatus says. SIGINT and SIGTERM end its context.
func Run(command *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	command.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), version.Long(command.Name())) },
	})
	ran, err := command.ExecuteContextC(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", ran.CommandPath(), err)
		return statusOf(err)
	}
	return 0
}

func statusOf(err error) int {
	var own interface{ ExitStatus() int }
	if errors.As(err, &own) {
		return own.ExitStatus()
	}
	return 1
}
