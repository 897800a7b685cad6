// Package status is `portolan status`: whether all is well, in a few lines and an exit code.
package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

type options struct {
	server   ask.Flags
	wait     bool
	patience time.Duration
}

// errNotWell is returned after the report that says why.
var errNotWell = errors.New("not all is well")

// again spaces the looks of --wait.
const again = 200 * time.Millisecond

// Command returns the command.
func Command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "status",
		Short: "Tell whether all is well, and wait until it is",
		Long: `Tell whether all is well: the control planes, how many nodes have applied what they
serve, what is not in force. The exit code is 1 if not every node is Synced, if a control
plane does not answer, or if a mass deletion is held back; objects that are not in force
are counted, and are no reason.

--server may name several replicas, separated by commas: a node is in the best of the
states that they see it in, since it is connected to one of them.`,
		Example: `  portolan status
  portolan status --wait --for 2m
  portolan status --server 192.0.2.10:9443,192.0.2.11:9443 --tls-ca-file ca.crt --token-file token`,
		Args: cobra.NoArgs,
		RunE: o.run,
	}
	flags := command.Flags()
	flags.BoolVar(&o.wait, "wait", false, "wait until all is well")
	flags.DurationVar(&o.patience, "for", 5*time.Minute, "with --wait, how long")
	o.server.Register(flags)
	return command
}

func (o *options) run(command *cobra.Command, _ []string) error {
	clients, done, err := o.server.ConnectAll()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(command.Context(), o.patience)
	defer cancel()
	last := ""
	for begun := time.Now(); ; {
		r := o.look(ctx, clients)
		if r.well() || !o.wait || ctx.Err() != nil {
			r.write(command.OutOrStdout())
			if r.well() {
				return nil
			}
			return errNotWell
		}
		if line := r.nodes(); line != last && time.Since(begun) > time.Second {
			last = line
			command.PrintErrln(line)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// report is what was seen.
type report struct {
	replicas []replica
	known    ask.Best
	problems int
	held     *introspectionv1.Brake
}

type replica struct {
	server   string
	revision uint64
	nodes    int
	err      error
}

func (o *options) look(ctx context.Context, clients []*ask.Client) report {
	r := report{known: ask.Best{}}
	for _, client := range clients {
		seen := replica{server: client.Server()}
		ctx, cancel := context.WithTimeout(ctx, o.server.Timeout)
		nodes, err := client.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
		var problems *introspectionv1.ListProblemsResponse
		if err == nil {
			problems, err = client.ListProblems(ctx, &introspectionv1.ListProblemsRequest{})
		}
		cancel()
		if seen.err = client.Explain(err); err != nil {
			r.replicas = append(r.replicas, seen)
			continue
		}
		seen.revision = nodes.GetRevision()
		for _, node := range nodes.GetNodes() {
			if node.GetState() != introspectionv1.SyncState_SYNC_STATE_DISCONNECTED {
				seen.nodes++
			}
		}
		r.known.Add(nodes)
		r.problems = max(r.problems, len(problems.GetProblems()))
		if problems.GetBrake() != nil {
			r.held = problems.GetBrake()
		}
		r.replicas = append(r.replicas, seen)
	}
	return r
}

func (r report) count(state introspectionv1.SyncState) (n int) {
	for _, node := range r.known {
		if node.GetState() == state {
			n++
		}
	}
	return n
}

func (r report) well() bool {
	return r.held == nil && len(r.known) > 0 && r.count(introspectionv1.SyncState_SYNC_STATE_SYNCED) == len(r.known) &&
		!slices.ContainsFunc(r.replicas, func(p replica) bool { return p.err != nil })
}

// nodes says in a line how the nodes are.
func (r report) nodes() string {
	if len(r.known) == 0 {
		return "no nodes"
	}
	line := fmt.Sprintf("%d of %d are Synced", r.count(introspectionv1.SyncState_SYNC_STATE_SYNCED), len(r.known))
	for _, state := range output.Ranks[1:] {
		var names []string
		for _, node := range r.known.List() {
			if node.GetState() == state {
				names = append(names, node.GetNode())
			}
		}
		if len(names) > 0 {
			line += fmt.Sprintf(", %d %s (%s)", len(names), output.State(state), few(names))
		}
	}
	return line
}

func few(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

func (r report) write(w io.Writer) {
	for _, p := range r.replicas {
		if p.err != nil {
			fmt.Fprintf(w, "Control plane  %s: %v\n", p.server, p.err)
			continue
		}
		fmt.Fprintf(w, "Control plane  %s: revision %d, %d nodes connected\n", p.server, p.revision, p.nodes)
	}
	fmt.Fprintf(w, "Nodes          %s\n", r.nodes())
	if r.problems > 0 {
		fmt.Fprintf(w, "Objects        %d not in force, or not whole: portolan get problems\n", r.problems)
	} else {
		fmt.Fprintln(w, "Objects        all in force")
	}
	if r.held != nil {
		fmt.Fprintf(w, "Held back      the removal of %d Services: portolan get problems, portolan release\n", len(r.held.GetServices()))
	}
}
