// Package check is `portolan check`: it looks at a node and at a cluster before Portolan is
// installed, and after, and says what is not as it should be and what to do about it.
package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/cmd/internal/program"
	"github.com/portolan-net/portolan/cmd/internal/version"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
	"github.com/portolan-net/portolan/controlplane"
)

type options struct {
	format     output.Format
	before     bool
	list       bool
	scope      string
	selection  check.Selection
	server     ask.Flags
	kubeconfig string
	namespace  string
	node       nodeOptions
}

// The values of --scope beside check.Node and check.Cluster.
const (
	scopeAuto = "auto"
	scopeAll  = "all"
)

var scopes = []string{scopeAuto, string(check.Node), string(check.Cluster), scopeAll}

// Command returns the command.
func Command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "check [--pre]",
		Short: "Look whether a node and the cluster are as Portolan needs them",
		Long: `Look whether this node and the cluster are as Portolan needs them: with --pre before an
installation, without it at one that runs.

Of the node: what its kernel can do, which is tried in a network namespace that is thrown
away; its settings; who else programs it; the agent's certificates and token, and whether
it can reach a control plane. Of the cluster: the API server, rights, kube-proxy, Nodes and
Services, and the installation. What is looked at is not changed.

Without --scope, the node is looked at where this process may make namespaces, or is root,
and the cluster where there is a kubeconfig. Each check is explained in
docs/reference/checks.md. The exit status is 0, also after warnings; 1 if a check has
failed; 2 if the command was not understood.`,
		Example: `  portolan check --pre
  portolan check --pre --scope node --mode ipvs
  portolan check --scope cluster --server 127.0.0.1:9441
  portolan check --only kernel,sysctl -o junit
  portolan check --list`,
		Args: func(command *cobra.Command, args []string) error { return misused(cobra.NoArgs(command, args)) },
		RunE: o.run,
	}
	command.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return misused(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	o.register(command)
	command.AddCommand(probeCommand())
	return command
}

func (o *options) register(command *cobra.Command) {
	o.format.Register(command, output.JUnit)
	flags := command.Flags()
	flags.BoolVar(&o.before, "pre", false, "look at what matters before an installation")
	flags.BoolVar(&o.list, "list", false, "print the checks and run none")
	flags.StringVar(&o.scope, "scope", scopeAuto, "what to look at: node, cluster or all; auto is what can be looked at from here")
	flags.StringSliceVar(&o.selection.Only, "only", nil, "IDs of checks, or groups, to run alone")
	flags.StringSliceVar(&o.selection.Skip, "skip", nil, "IDs of checks, or groups, not to run")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default: as kubectl's)")
	flags.StringVarP(&o.namespace, "namespace", "n", "portolan-system", "namespace of the installation")
	o.node.register(flags)
	o.server.Register(flags)
	_ = command.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions(scopes, cobra.ShellCompDirectiveNoFileComp))
}

// misused is an error of who typed the command.
func misused(err error) error {
	const status = 2
	if err == nil {
		return nil
	}
	return &program.Failure{Err: err, Status: status}
}

func (o *options) run(command *cobra.Command, _ []string) error {
	if !slices.Contains(scopes, o.scope) {
		return misused(fmt.Errorf("--scope %q: expected auto, node, cluster or all", o.scope))
	}
	if err := o.node.complete(); err != nil {
		return misused(err)
	}
	ctx := command.Context()
	o.node.probe = check.Once(ctx, o.server.Timeout, probe)
	all := o.checks(ctx, command.Flags())
	known := make([]check.Definition, len(all))
	for i, c := range all {
		known[i] = c.Definition
	}
	selected, err := o.selection.Of(all, known)
	if err != nil {
		return misused(err)
	}
	if o.list {
		return o.printList(command, selected)
	}
	chosen, err := o.chosen()
	if err != nil {
		return misused(err)
	}
	selected = slices.DeleteFunc(selected, func(c check.Check) bool { return !slices.Contains(chosen, c.Scope) || !c.Runs(o.before) })
	if len(selected) == 0 {
		return misused(errors.New("no check is left: expected --scope, --pre, --only and --skip to leave one; see --list"))
	}
	r := newReport(check.Run(ctx, selected, o.server.Timeout, time.Now))
	if err := r.print(command.OutOrStdout(), o.format); err != nil {
		return err
	}
	if r.Summary.Failed > 0 {
		return fmt.Errorf("%d of %d checks failed", r.Summary.Failed, len(r.Checks))
	}
	return nil
}

// checks returns all there are.
func (o *options) checks(ctx context.Context, flags *pflag.FlagSet) []check.Check {
	limit := o.server.Timeout
	told := flags.Changed("server") || os.Getenv("PORTOLAN_SERVER") != ""
	return slices.Concat(
		o.node.checks(ctx, o.before, o.namespace, limit),
		controlplane.Checks(ctx, controlplane.CheckConfig{Kubeconfig: o.kubeconfig, Namespace: o.namespace, Before: o.before, Limit: limit}),
		syncChecks(ctx, &o.server, told, version.String(), limit))
}

var errNothing = errors.New("there is nothing to look at: expected a kubeconfig, or root's rights, or namespaces for users; or say what to look at with --scope")

// chosen returns the scopes to look at.
func (o *options) chosen() ([]check.Scope, error) {
	switch o.scope {
	case scopeAll:
		return []check.Scope{check.Node, check.Cluster}, nil
	case scopeAuto:
	default:
		return []check.Scope{check.Scope(o.scope)}, nil
	}
	var list []check.Scope
	if os.Getuid() == 0 || o.canProbe() {
		list = append(list, check.Node)
	}
	if controlplane.HasCluster(o.kubeconfig) {
		list = append(list, check.Cluster)
	}
	if len(list) == 0 {
		return nil, errNothing
	}
	return list, nil
}

// canProbe tells whether this process may make namespaces.
func (o *options) canProbe() bool {
	_, err := o.node.probe()
	return err == nil
}

// printList prints what there is.
func (o *options) printList(command *cobra.Command, checks []check.Check) error {
	if o.format != output.Table {
		return misused(errors.New("--list: expected -o table"))
	}
	rows := make([][]string, len(checks))
	whens := map[check.When]string{check.Always: "always", check.Before: "before", check.After: "after"}
	for i, c := range checks {
		rows[i] = []string{c.ID, string(c.Scope), whens[c.When], c.Title}
	}
	return output.Rows(command.OutOrStdout(), []string{"ID", "SCOPE", "WHEN", "EXPECTED"}, rows)
}
