package top

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

var nodeColumns = []column{
	{"NODE", func(r row) string { return r.name }, nil},
	{"STATE", func(r row) string { return output.State(r.node.GetState()) }, nil},
	{"BEHIND", func(r row) string { return fmt.Sprint(r.behind) }, func(a, b row) bool { return a.behind < b.behind }},
	{"SILENT", func(r row) string { return age(r.silent) }, func(a, b row) bool { return a.silent < b.silent }},
	{"APPLY", func(r row) string { return took(r.node) }, func(a, b row) bool {
		return a.node.GetApplyDuration().AsDuration() < b.node.GetApplyDuration().AsDuration()
	}},
	{"RESOURCES/S", func(r row) string { return fmt.Sprintf("%.1f", r.resources) }, func(a, b row) bool { return a.resources < b.resources }},
	{"BYTES/S", func(r row) string { return output.Bytes(uint64(r.bytes)) }, func(a, b row) bool { return a.bytes < b.bytes }},
	{"SENT", func(r row) string { return output.Bytes(r.node.GetSentBytes()) }, func(a, b row) bool { return a.node.GetSentBytes() < b.node.GetSentBytes() }},
	{"FULL-SYNCS", func(r row) string { return fmt.Sprint(r.node.GetFullSyncs()) }, func(a, b row) bool { return a.node.GetFullSyncs() < b.node.GetFullSyncs() }},
}

func age(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return output.Age(d)
}

func took(node *introspectionv1.NodeStatus) string {
	if node.GetAckedAt() == nil {
		return ""
	}
	return output.Took(node.GetApplyDuration().AsDuration())
}

func nodesCommand(now func() time.Time) *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"node", "no"},
		Short:   "Show which nodes are behind, slow, or sent most",
		Long: `Show which nodes are behind, slow, or sent most. Two looks are taken, --interval apart.

  BEHIND       how many revisions a node that is not Synced has to go
  SILENT       for how long it has not acknowledged anything, if it has something to
  APPLY        how long its kernel took for the last change
  RESOURCES/S  what it was sent between the two looks, in a second
  SENT         what it was sent since it connected
  FULL-SYNCS   how often it was sent everything since then`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.nodes(command, now) },
	}
	o.register(command, nodeColumns)
	return command
}

func (o *options) nodes(command *cobra.Command, now func() time.Time) error {
	by, err := o.find(nodeColumns)
	if err != nil {
		return err
	}
	var before *introspectionv1.ListNodesResponse
	var at time.Time
	return o.show(command, func(ctx context.Context) (string, error) {
		for before == nil {
			if before, err = o.list(command); err != nil {
				return "", err
			}
			if at = now(); !pause(ctx, o.every) {
				return "", ctx.Err()
			}
		}
		after, err := o.list(command)
		if err != nil {
			return "", err
		}
		rows := nodeRows(before, after, now().Sub(at), now())
		before, at = after, now()
		return o.render(nodeColumns, by, rows, "nodes", asNode)
	})
}

// list returns the nodes as those replicas see them that answer.
func (o *options) list(command *cobra.Command) (*introspectionv1.ListNodesResponse, error) {
	nodes, missing, err := ask.Nodes(command.Context(), &o.server)
	if missing != nil {
		command.PrintErrln(missing)
	}
	return nodes, err
}

// nodeRows compares two looks.
func nodeRows(before, after *introspectionv1.ListNodesResponse, between time.Duration, now time.Time) []row {
	sent := map[string]*introspectionv1.NodeStatus{}
	for _, node := range before.GetNodes() {
		sent[node.GetNode()] = node
	}
	var rows []row
	for _, node := range after.GetNodes() {
		r := row{name: node.GetNode(), node: node}
		if node.GetState() != introspectionv1.SyncState_SYNC_STATE_SYNCED {
			r.behind = node.GetCurrentRevision() - min(node.GetAckedRevision(), node.GetCurrentRevision())
			if node.GetAckedAt() != nil {
				r.silent = now.Sub(node.GetAckedAt().AsTime())
			}
		}
		old := sent[node.GetNode()]
		// Who has connected again counts from nothing.
		if seconds := between.Seconds(); seconds > 0 && node.GetSentBytes() >= old.GetSentBytes() && node.GetSentResources() >= old.GetSentResources() {
			r.bytes = float64(node.GetSentBytes()-old.GetSentBytes()) / seconds
			r.resources = float64(node.GetSentResources()-old.GetSentResources()) / seconds
		}
		rows = append(rows, r)
	}
	return rows
}
