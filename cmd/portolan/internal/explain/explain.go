// Package explain is `portolan explain`: why a node sees a Service as it does.
package explain

import (
	"cmp"
	"context"
	"errors"
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
	server   ask.Flags
	format   output.Format
	node     string
	from, to string
	kernel   bool
	now      func() time.Time
}

// Command returns the command.
func Command() *cobra.Command { return command(time.Now) }

func command(now func() time.Time) *cobra.Command {
	o := options{now: now}
	command := &cobra.Command{
		Use:   "explain [NAMESPACE/]NAME --node NODE | --from WHO --to SERVICE:PORT",
		Short: "Tell why a node sees a Service as it does, or what becomes of a connection",
		Long: `Tell why a node sees a Service as it does: what was decided, what becomes of new
connections by who makes them, which endpoints are in or out and why, and whether
the node's kernel has it yet. A name without a namespace is one in "default".

TRAFFIC is computed from the rules of Services alone, apart from what the node is
sent. SOURCE-SEEN is whose address the endpoint sees: the client's, or the node's,
or the node's only where a client is its own endpoint (hairpin).

--from and --to ask about one connection. WHO is a pod that is an endpoint
(NAMESPACE/NAME), a node (NAME), or an address: of a pod, a node or outside. It is
decided about at the home of the pod or node, else at --node. --to is a Service and a
port's number or name, or the address and port of a frontend. --kernel asks the node too
whether its kernel has what is decided, as portolan diff does.

--server may name several replicas, separated by commas: what NODE and KERNEL say is known
by the one that the node is connected to.`,
		Example: `  portolan explain demo/web --node node-a
  portolan explain --from demo/client-0 --to demo/web:80
  portolan explain --from 203.0.113.7 --to 192.0.2.1:30080 --kernel`,
		Args: o.check,
		RunE: o.run,
	}
	flags := command.Flags()
	flags.StringVar(&o.node, "node", "", "the node that decides; with --from, where connections from outside come in")
	flags.StringVar(&o.from, "from", "", "who connects: NAMESPACE/POD, a node's name or an address")
	flags.StringVar(&o.to, "to", "", "to what: [NAMESPACE/]SERVICE:PORT or ADDRESS:PORT")
	flags.BoolVar(&o.kernel, "kernel", false, "ask the node whether its kernel has it")
	_ = command.RegisterFlagCompletionFunc("node", o.server.CompleteNodes)
	command.ValidArgsFunction = o.server.CompleteServices
	o.server.Register(command.Flags())
	o.format.Register(command)
	return command
}

// check says what of the command line is missing, or too much.
func (o *options) check(_ *cobra.Command, arguments []string) error {
	switch {
	case o.to == "" && len(arguments) != 1:
		return fmt.Errorf("expected the name of one Service, NAMESPACE/NAME, or --to, and got %d arguments", len(arguments))
	case o.to != "" && len(arguments) > 0:
		return fmt.Errorf("expected no argument beside --to, and got %q", arguments)
	case o.node == "" && o.from == "":
		return errors.New("expected --node, or --from")
	default:
		return nil
	}
}

func (o *options) run(command *cobra.Command, arguments []string) error {
	request := &introspectionv1.ExplainServiceRequest{Node: o.node, From: o.from, To: o.to}
	if len(arguments) > 0 {
		request.Service = arguments[0]
	}
	response, err := o.ask(command.Context(), request)
	if err != nil {
		return err
	}
	out := command.OutOrStdout()
	show := func() error {
		return o.format.Print(out, response, func(w io.Writer) error { return o.write(w, response) })
	}
	if !o.kernel {
		return show()
	}
	compared, err := o.compare(command.Context(), response.GetDecidedAt())
	if err != nil {
		return err
	}
	if o.format != output.Table {
		err = o.both(out, response, compared)
		out = io.Discard
	} else {
		err = show()
	}
	if err != nil {
		return err
	}
	return judge(out, response, compared.GetComparison())
}

// ask asks all replicas, which decide the same, and returns the answer of the one that the node
// is connected to.
func (o *options) ask(ctx context.Context, request *introspectionv1.ExplainServiceRequest) (*introspectionv1.ExplainServiceResponse, error) {
	answers, err := ask.All(ctx, &o.server, func(ctx context.Context, client *ask.Client) (*introspectionv1.ExplainServiceResponse, error) {
		return client.ExplainService(ctx, request)
	})
	if err != nil {
		return nil, err
	}
	var best *introspectionv1.ExplainServiceResponse
	for _, a := range answers {
		if a.Err == nil && (best == nil || ask.KnowsMore(a.Value.GetNode(), best.GetNode())) {
			best = a.Value
		}
	}
	if best == nil {
		return nil, ask.Missing(answers)
	}
	return best, nil
}

func (o *options) write(w io.Writer, response *introspectionv1.ExplainServiceResponse) error {
	if response.GetFrom() != "" {
		fmt.Fprintf(w, "CONNECTION\n  %s, to %s; decided at node %s\n\n", response.GetFrom(), response.GetService(), response.GetDecidedAt())
	}
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
		return fmt.Sprintf("%s has never connected to this control plane.", cmp.Or(response.GetDecidedAt(), o.node))
	}
	if node.GetAckedAt() == nil {
		return fmt.Sprintf("%s is %s and has not applied anything yet; the current revision is %d.", node.GetNode(), output.State(node.GetState()), current)
	}
	line := fmt.Sprintf("%s is %s: it has applied revision %d of %d, %s ago, in %s.", node.GetNode(), output.State(node.GetState()),
		node.GetAckedRevision(), current, output.Age(o.now().Sub(node.GetAckedAt().AsTime())), output.Took(node.GetApplyDuration().AsDuration()))
	if trouble := output.Trouble(node); trouble != "" {
		line += "\n  Its last error: " + trouble
	}
	if warning := output.Warning(node); warning != "" {
		line += "\n  It warns: " + warning
	}
	return line
}
