package get

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"

	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// The columns of nodes. Those of -o wide come before the error, which may be long.
var (
	nodesHeading = []string{"NODE", "ZONE", "MODE", "CONFIG", "STATE", "REVISION", "APPLIED", "TOOK", "SENT", "VERSION"}
	wideHeading  = []string{"GROUP", "ADDRESS", "REPLICA"}
)

func nodesCommand(now func() time.Time) *cobra.Command {
	o := options{now: now}
	command := &cobra.Command{
		Use:     "nodes [NAME...]",
		Aliases: []string{"node", "no"},
		Short:   "List which revision each node has applied",
		Long: `List the nodes that are or were connected, and which revision each has applied.

  MODE      the data plane that it is told to use
  CONFIG    which configuration it is told: equal for equal ones, new when it changes
  STATE     Synced: its kernel holds the current revision. Pending: a change is on
            its way. Rejected: it could not use all of it, see ERROR. Diverged: it
            holds something else and is being repaired. Connecting: it has not
            confirmed anything yet. Disconnected: its kernel keeps what it had.
  REVISION  applied / current
  APPLIED   how long ago its kernel took the last change, and TOOK how long that took
  SENT      resources and bytes sent since it connected
  ERROR     why it did not apply what it was sent, or why it is not connected
  GROUP     with -o wide: the entry of the configuration's nodes that selects it
  ADDRESS   with -o wide: where it connects from
  REPLICA   with -o wide: the control plane that says so
  WARNING   what it could not do though it applies, such as listen on a port; shown
            if there is any

Each replica of the control plane knows the nodes that are connected to it, and counts
revisions of its own. --server names all replicas, separated by commas: a node is then
shown as that one sees it that it is connected to.`,
		Example: `  portolan get nodes
  portolan get nodes -o wide
  portolan get nodes node-a node-b -o json`,
		RunE: o.nodes,
	}
	command.ValidArgsFunction = o.server.CompleteNodes
	o.register(command, output.Wide)
	return command
}

func (o *options) nodes(command *cobra.Command, names []string) error {
	response, missing, err := ask.Nodes(command.Context(), &o.server)
	if err != nil {
		return err
	}
	if err := keep(response, names); err != nil {
		return err
	}
	heading, rows := o.nodesTable(response)
	heading, rows = withWarnings(response.GetNodes(), heading, rows)
	return errors.Join(o.print(command, response, heading, rows, "no node has connected yet"), missing)
}

func (o *options) nodesTable(response *introspectionv1.ListNodesResponse) (heading []string, rows [][]string) {
	heading = slices.Clip(nodesHeading)
	if o.format == output.Wide {
		heading = append(heading, wideHeading...)
	}
	for _, node := range response.GetNodes() {
		row := nodeRow(node, o.now())
		if o.format == output.Wide {
			row = append(row, node.GetConfig().GetGroup(), node.GetPeer(), node.GetReplica())
		}
		rows = append(rows, append(row, output.Trouble(node)))
	}
	return append(heading, "ERROR"), rows
}

// withWarnings adds a column for what nodes warn of, if one does.
func withWarnings(nodes []*introspectionv1.NodeStatus, heading []string, rows [][]string) ([]string, [][]string) {
	if !slices.ContainsFunc(nodes, func(node *introspectionv1.NodeStatus) bool { return output.Warning(node) != "" }) {
		return heading, rows
	}
	for i, node := range nodes {
		rows[i] = append(rows[i], output.Warning(node))
	}
	return append(slices.Clip(heading), "WARNING"), rows
}

// keep leaves the named nodes in the response, or all if no name is given.
func keep(response *introspectionv1.ListNodesResponse, names []string) error {
	if len(names) == 0 {
		return nil
	}
	var all []string
	for _, node := range response.GetNodes() {
		all = append(all, node.GetNode())
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("no node %q has connected; those that have: %s", name, cmp.Or(strings.Join(all, ", "), "none"))
		}
	}
	response.Nodes = slices.DeleteFunc(response.GetNodes(), func(node *introspectionv1.NodeStatus) bool {
		return !slices.Contains(names, node.GetNode())
	})
	return nil
}

func nodeRow(node *introspectionv1.NodeStatus, now time.Time) []string {
	applied, took := "", ""
	if node.GetAckedAt() != nil {
		applied, took = output.Age(now.Sub(node.GetAckedAt().AsTime())), output.Took(node.GetApplyDuration().AsDuration())
	}
	return []string{
		node.GetNode(), node.GetZone(), output.Mode(node.GetConfig()), output.Version(node.GetConfig()), output.State(node.GetState()),
		fmt.Sprintf("%d/%d", node.GetAckedRevision(), node.GetCurrentRevision()), applied, took,
		fmt.Sprintf("%d (%s)", node.GetSentResources(), output.Bytes(node.GetSentBytes())),
		node.GetAgentVersion(),
	}
}
