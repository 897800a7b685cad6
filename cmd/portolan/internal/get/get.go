// Package get is `portolan get`: what a control plane has told its nodes, and how
// far they are.
package get

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"

	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// options are the flags of one subcommand.
type options struct {
	server ask.Flags
	format output.Format
	node   string
	now    func() time.Time
}

// Command returns the command.
func Command() *cobra.Command { return command(time.Now) }

func command(now func() time.Time) *cobra.Command {
	get := &cobra.Command{
		Use:   "get nodes|services|endpoints|problems",
		Short: "Ask a control plane what its nodes were told and how far they are",
		Long: `Ask a running control plane what its nodes were told and how far they are.

The control plane answers at its admin address (--admin-listen), which only its own
machine can reach. Elsewhere, forward a port to it or copy the command there.`,
		Example: `  portolan get nodes
  portolan get endpoints demo/web --node node-a
  portolan get services -o yaml --server unix:/run/portolan/admin.sock`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	get.AddCommand(nodesCommand(now), servicesCommand(now), endpointsCommand(now), problemsCommand(now))
	return get
}

// register gives a subcommand the flags that all have, and formats that it has beside
// the usual ones.
func (o *options) register(command *cobra.Command, formats ...output.Format) {
	o.server.Register(command.Flags())
	o.format.Register(command, formats...)
}

// registerNode gives a subcommand about a view the flag that says whose.
func (o *options) registerNode(command *cobra.Command) {
	command.Flags().StringVar(&o.node, "node", "", "as this node sees it (default: before zones and local endpoints are considered)")
	_ = command.RegisterFlagCompletionFunc("node", o.server.CompleteNodes)
}

// print prints an answer, or a sentence instead of an empty table.
func (o *options) print(command *cobra.Command, message proto.Message, heading []string, rows [][]string, none string) error {
	return o.format.Print(command.OutOrStdout(), message, func(w io.Writer) error {
		if len(rows) == 0 {
			command.PrintErrln(none)
			return nil
		}
		return output.Rows(w, heading, rows)
	})
}

// view asks for what a node should hold of the named Services, or of all.
func (o *options) view(command *cobra.Command, services []string) (*introspectionv1.GetViewResponse, error) {
	return ask.With(command.Context(), &o.server, func(ctx context.Context, client *ask.Client) (*introspectionv1.GetViewResponse, error) {
		return client.GetView(ctx, &introspectionv1.GetViewRequest{Node: o.node, Services: services})
	})
}
