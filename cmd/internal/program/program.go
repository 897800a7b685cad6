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

// Failure is an error with an exit status of its own.
type Failure struct {
	Err    error
	Status int
}

// Error returns the error's text.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error.
func (f *Failure) Unwrap() error { return f.Err }

// Run runs the command with the process's arguments and returns the exit status:
// 0, or 1 after an error, or what a Failure says; the error is printed. SIGINT and SIGTERM end its context.
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
		if failure := (*Failure)(nil); errors.As(err, &failure) {
			return failure.Status
		}
		return 1
	}
	return 0
}
