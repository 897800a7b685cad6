package get

import (
	"cmp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

var endpointsHeading = []string{"SERVICE", "PORT", "ENDPOINT", "USED-FOR"}

func endpointsCommand(now func() time.Time) *cobra.Command {
	o := options{now: now}
	command := &cobra.Command{
		Use:     "endpoints [NAMESPACE/NAME...]",
		Aliases: []string{"endpoint", "ep"},
		Short:   "List the endpoints that a node uses, by Service",
		Long: `List the endpoints that a node uses, by Service: those of Services that are named,
or of all.

  USED-FOR  cluster: traffic that may go anywhere. local: traffic that must stay on
            the node (a Local policy); needs --node.

Endpoints that a node does not use are not listed; "portolan explain" lists them
with the reason.`,
		Example: `  portolan get endpoints --node node-a
  portolan get endpoints demo/web`,
		RunE: o.endpoints,
	}
	command.ValidArgsFunction = o.server.CompleteServices
	o.register(command)
	o.registerNode(command)
	return command
}

func (o *options) endpoints(command *cobra.Command, names []string) error {
	response, err := o.view(command, names)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, service := range response.GetServices() {
		for _, port := range service.GetPorts() {
			rows = append(rows, endpointRows(service.GetName(), port)...)
		}
	}
	return o.print(command, response, endpointsHeading, rows, "no endpoints")
}

func endpointRows(service string, port *introspectionv1.PortView) [][]string {
	name := cmp.Or(port.GetName(), protocol(port.GetProtocol()))
	var rows [][]string
	for _, endpoint := range port.GetClusterEndpoints() {
		use := "cluster"
		if slices.Contains(port.GetLocalEndpoints(), endpoint) {
			use = "cluster, local"
		}
		rows = append(rows, []string{service, name, endpoint, use})
	}
	for _, endpoint := range port.GetLocalEndpoints() {
		if !slices.Contains(port.GetClusterEndpoints(), endpoint) {
			rows = append(rows, []string{service, name, endpoint, "local"})
		}
	}
	return rows
}
