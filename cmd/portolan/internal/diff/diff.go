// Package diff is `portolan diff`: whether nodes hold what they were sent, and their
// kernels what they hold.
package diff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/internal/program"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// atOnce is how many nodes are asked at a time.
const atOnce = 16

type options struct {
	server ask.Flags
	format output.Format
	node   string
}

// Command returns the command.
func Command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "diff [--node NODE]",
		Short: "Compare what nodes were sent, what they hold and what their kernels do",
		Long: `Compare, at all nodes or one, what the control plane has sent, what the agent holds, and
what the node's kernel has. Nothing is changed. The agent reads its kernel rules for it,
which costs about what writing all of them does.

  SENT    the revision that the node was sent last / the current one; a node is not sent
          a revision that changes nothing for it
  HELD    whether what the agent holds is what it was sent, to the bit
  KERNEL  whether the kernel has all that the agent holds, and nothing else of ours

Each replica of the control plane can ask the nodes that are connected to it: --server
names all of them, separated by commas.

The exit status is 0 if all is as it should be, 1 if something differs, and 2 if nothing
does where nodes could be asked, and some could not.`,
		Example: `  portolan diff
  portolan diff --node node-a -o json`,
		Args: cobra.NoArgs,
		RunE: o.run,
	}
	command.Flags().StringVar(&o.node, "node", "", "this node only (default: all)")
	_ = command.RegisterFlagCompletionFunc("node", o.server.CompleteNodes)
	o.server.Register(command.Flags())
	o.format.Register(command)
	return command
}

func (o *options) run(command *cobra.Command, _ []string) error {
	clients, done, err := o.server.ConnectAll()
	if err != nil {
		return &program.Failure{Err: err, Status: 2}
	}
	defer done()
	names, missing, err := o.names(command.Context())
	if err != nil {
		return &program.Failure{Err: err, Status: 2}
	}
	found := o.compare(command, clients, names)
	if err := o.print(command.OutOrStdout(), found); err != nil {
		return &program.Failure{Err: err, Status: 2}
	}
	return verdict(found, missing)
}

// verdict says whether something differs, or could not be compared; missing is why a replica
// did not answer.
func verdict(found []result, missing error) error {
	different, failed := 0, 0
	for _, r := range found {
		switch {
		case r.differs():
			different++
		case r.trouble() != "":
			failed++
		}
	}
	switch {
	case different > 0:
		return &program.Failure{Err: fmt.Errorf("%d of %d nodes differ", different, len(found)), Status: 1}
	case failed > 0:
		return &program.Failure{Err: fmt.Errorf("%d of %d nodes could not be compared", failed, len(found)), Status: 2}
	case missing != nil:
		return &program.Failure{Err: missing, Status: 2}
	default:
		return nil
	}
}

// names returns the nodes to ask: those that a control plane knows of.
func (o *options) names(ctx context.Context) (names []string, missing, err error) {
	if o.node != "" {
		return []string{o.node}, nil, nil
	}
	nodes, missing, err := ask.Nodes(ctx, &o.server)
	if err != nil {
		return nil, nil, err
	}
	for _, node := range nodes.GetNodes() {
		names = append(names, node.GetNode())
	}
	if len(names) == 0 {
		return nil, nil, cmp.Or(missing, errors.New("no node has connected yet"))
	}
	return names, missing, nil
}

// result is what came of one node.
type result struct {
	node     string
	response *introspectionv1.CompareNodeResponse
	err      error
}

// held tells whether what the agent holds is what it was sent.
func (r result) held() bool {
	return r.response.GetComparison().GetDigest() == r.response.GetSentDigest()
}

// differs tells whether anything is not as it should be.
func (r result) differs() bool {
	return r.err == nil && (!r.held() || len(r.response.GetComparison().GetDifferences()) > 0)
}

// trouble says why not all was compared, empty if it was.
func (r result) trouble() string {
	if r.err != nil {
		return r.err.Error()
	}
	return r.response.GetComparison().GetError()
}

// compare asks many nodes at a time. Who waits longer than a second is told how far it is.
func (o *options) compare(command *cobra.Command, clients []*ask.Client, names []string) []result {
	found := make([]result, len(names))
	var asked atomic.Int64
	progress := time.AfterFunc(time.Second, func() {
		command.PrintErrf("comparing: %d of %d nodes have answered\n", asked.Load(), len(names))
	})
	defer progress.Stop()
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() error {
			found[i] = o.ask(command.Context(), clients, name)
			asked.Add(1)
			return nil
		})
	}
	_ = group.Wait()
	return found
}

// ask asks the replica that the node is connected to.
func (o *options) ask(ctx context.Context, clients []*ask.Client, node string) result {
	response, err := ask.CompareNode(ctx, &o.server, clients, node)
	return result{node: node, response: response, err: err}
}

func (o *options) print(w io.Writer, found []result) error {
	if o.format != output.Table {
		return o.format.PrintJSON(w, encode(found))
	}
	return table(w, found)
}
