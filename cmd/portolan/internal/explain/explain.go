// Package explain is `portolan explain`: why a node sees a Service as it does.
package explain

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"

	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

type options struct {
	server ask.Flags
	format output.Format
	node   string
	now    func() time.Time
}

// Command returns the command.
func Command() *cobra.Command { return command(time.Now) }

func command(now func() time.Time) *cobra.Command {
	o := options{now: now}
	command := &cobra.Command{
		Use:   "explain [NAMESPACE/]NAME --node NODE",
		Short: "Tell why a node sees a Service as it does",
		Long: `Tell why a node sees a Service as it does: what was decided, what becomes of new
connections by who makes them, which endpoints are in or out and why, and whether
the node's kernel has it yet. A name without a namespace is one in "default".

TRAFFIC is computed from the rules of Services alone, apart from what the node is
sent. SOURCE-SEEN is whose address the endpoint sees: the client's, or the node's,
or the node's only where a client is its own endpoint (hairpin).`,
		Example: "  portolan explain demo/web --node node-a",
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) != 1 {
				return fmt.Errorf("expected the name of one Service, NAMESPACE/NAME, and got %d arguments", len(arguments))
			}
			return nil
		},
		RunE: func(command *cobra.Command, arguments []string) error { return o.run(command, arguments[0]) },
	}
	command.Flags().StringVar(&o.node, "node", "", "the node (required)")
	_ = command.MarkFlagRequired("node")
	_ = command.RegisterFlagCompletionFunc("node", o.server.CompleteNodes)
	command.ValidArgsFunction = o.server.CompleteServices
	o.server.Register(command.Flags())
	o.format.Register(command)
	return command
}

func (o *options) run(command *cobra.Command, service string) error {
	response, err := ask.With(command.Context(), &o.server, func(ctx context.Context, client *ask.Client) (*introspectionv1.ExplainServiceResponse, error) {
		return client.ExplainService(ctx, &introspectionv1.ExplainServiceRequest{Node: o.node, Service: service})
	})
	if err != nil {
		return err
	}
	return o.format.Print(command.OutOrStdout(), response, func(w io.Writer) error { return o.write(w, response) })
}

func (o *options) write(w io.Writer, response *introspectionv1.ExplainServiceResponse) error {
	fmt.Fprintln(w, "DECISIONS")
	for _, decision := range response.GetDecisions() {
		fmt.Fprintf(w, "  %s\n", decision)
	}
	if err := traffic(w, response.GetTraffic()); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nENDPOINTS")
	if err := candidates(w, response.GetCandidates()); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nNODE\n  %s\n", o.standing(response))
	if response.GetView() == nil {
		fmt.Fprintf(w, "  Not in revision %d, which is what nodes are told: it waits for the next round.\n", response.GetRevision())
	}
	return nil
}

func candidates(w io.Writer, list []*introspectionv1.Candidate) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "  none")
		return nil
	}
	rows := make([][]string, len(list))
	for i, c := range list {
		rows[i] = []string{c.GetAddress(), c.GetPortName(), c.GetNode(), c.GetZone(), use(c), c.GetReason(), c.GetSlice()}
	}
	return indented(w, []string{"ENDPOINT", "PORT", "NODE", "ZONE", "USED-FOR", "WHY", "SLICE"}, rows)
}

// indented prints a table inside a section.
func indented(w io.Writer, heading []string, rows [][]string) error {
	var table strings.Builder
	if err := output.Rows(&table, heading, rows); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		fmt.Fprint(w, "  ", line)
	}
	return nil
}

func use(c *introspectionv1.Candidate) string {
	switch {
	case c.GetCluster() && c.GetLocal():
		return "cluster, local"
	case c.GetCluster():
		return "cluster"
	case c.GetLocal():
		return "local"
	default:
		return "nothing"
	}
}

// standing says in a sentence how far the node is.
func (o *options) standing(response *introspectionv1.ExplainServiceResponse) string {
	node, current := response.GetNode(), response.GetRevision()
	if node == nil {
		return fmt.Sprintf("%s has never connected to this control plane.", o.node)
	}
	if node.GetAckedAt() == nil {
		return fmt.Sprintf("%s is %s and has not applied anything yet; the current revision is %d.", o.node, output.State(node.GetState()), current)
	}
	line := fmt.Sprintf("%s is %s: it has applied revision %d of %d, %s ago, in %s.", o.node, output.State(node.GetState()),
		node.GetAckedRevision(), current, output.Age(o.now().Sub(node.GetAckedAt().AsTime())), output.Took(node.GetApplyDuration().AsDuration()))
	if trouble := output.Trouble(node); trouble != "" {
		line += "\n  Its last error: " + trouble
	}
	if warning := output.Warning(node); warning != "" {
		line += "\n  It warns: " + warning
	}
	return line
}
