// Package root is the command tree of portolan.
package root

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/portolan/internal/apply"
)

// Run runs the command line and returns the exit status.
func Run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := Command()
	command.SetArgs(args)
	if err := command.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "portolan:", err)
		return 1
	}
	return 0
}

// Command returns the command tree.
func Command() *cobra.Command {
	command := &cobra.Command{
		Use:           "portolan",
		Short:         "Kubernetes Service load balancing with one brain and many thin hands",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	command.AddCommand(apply.Command())
	return command
}
