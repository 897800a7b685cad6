package top

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
)

var serviceColumns = []column{
	{"SERVICE", func(r row) string { return r.name }, nil},
	{"ELEMENTS", func(r row) string { return fmt.Sprint(r.elements) }, func(a, b row) bool { return a.elements < b.elements }},
	{"FRONTENDS", func(r row) string { return fmt.Sprint(r.frontends) }, func(a, b row) bool { return a.frontends < b.frontends }},
	{"ENDPOINTS", func(r row) string { return fmt.Sprint(r.endpoints) }, func(a, b row) bool { return a.endpoints < b.endpoints }},
}

func servicesCommand() *cobra.Command {
	var o options
	var node string
	command := &cobra.Command{
		Use:     "services --node NODE",
		Aliases: []string{"service", "svc"},
		Short:   "Show which Services take most of a node's kernel",
		Long: `Show which Services take most of a node's kernel.

  ELEMENTS   about how many elements of maps, or destinations of IPVS, a Service takes:
             each of its frontends has one for each endpoint that it may choose
  FRONTENDS  addresses with a port, a node port counted once
  ENDPOINTS  those that the node may choose, of all ports`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.services(command, node) },
	}
	command.Flags().StringVar(&node, "node", "", "the node (required)")
	_ = command.MarkFlagRequired("node")
	_ = command.RegisterFlagCompletionFunc("node", o.server.CompleteNodes)
	o.register(command, serviceColumns)
	return command
}

func (o *options) services(command *cobra.Command, node string) error {
	by, err := o.find(serviceColumns)
	if err != nil {
		return err
	}
	return o.show(command, func(ctx context.Context) (string, error) {
		view, err := ask.With(ctx, &o.server, func(ctx context.Context, client *ask.Client) (*introspectionv1.GetViewResponse, error) {
			return client.GetView(ctx, &introspectionv1.GetViewRequest{Node: node})
		})
		if err != nil {
			return "", err
		}
		return o.render(serviceColumns, by, serviceRows(view), "services", asService)
	})
}

func serviceRows(view *introspectionv1.GetViewResponse) []row {
	var rows []row
	for _, s := range view.GetServices() {
		r := row{name: s.GetName()}
		for _, p := range s.GetPorts() {
			r.frontends += len(p.GetFrontends())
			r.endpoints += len(p.GetClusterEndpoints())
			r.elements += len(p.GetFrontends()) * (1 + len(p.GetClusterEndpoints()))
		}
		rows = append(rows, r)
	}
	return rows
}
