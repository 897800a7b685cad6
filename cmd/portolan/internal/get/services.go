package get

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

var servicesHeading = []string{"SERVICE", "TYPE", "POLICY", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "ENDPOINTS"}

func servicesCommand(now func() time.Time) *cobra.Command {
	o := options{now: now}
	command := &cobra.Command{
		Use:     "services [NAMESPACE/NAME...]",
		Aliases: []string{"service", "svc"},
		Short:   "List the Services that a node was told",
		Long: `List the Services that a node was told, read from the very messages that it gets.

  TYPE       by what it has: load-balancer addresses, node ports or neither
  POLICY     where traffic from inside / from outside may go, if not everywhere
             (Local: only to endpoints on the node that it reached), affinity, and the
             scheduler that the Service asks for
  ENDPOINTS  how many addresses it may use; with --node, how many of them are on it`,
		Example: `  portolan get services --node node-a
  portolan get services demo/web -o yaml`,
		RunE: o.services,
	}
	command.ValidArgsFunction = o.server.CompleteServices
	o.register(command)
	o.registerNode(command)
	return command
}

func (o *options) services(command *cobra.Command, names []string) error {
	response, err := o.view(command, names)
	if err != nil {
		return err
	}
	rows := make([][]string, len(response.GetServices()))
	for i, service := range response.GetServices() {
		rows[i] = serviceRow(service, o.node != "")
	}
	return o.print(command, response, servicesHeading, rows, "no Services")
}

func serviceRow(view *introspectionv1.ServiceView, ofNode bool) []string {
	service := view.GetService()
	external := append(slices.Clone(service.GetLoadBalancerIps()), service.GetExternalIps()...)
	return []string{
		view.GetName(), kind(service), policy(service), strings.Join(service.GetClusterIps(), ","),
		strings.Join(external, ","), portList(service.GetPorts()), endpointCount(view, ofNode),
	}
}

// kind guesses the Service's type: nodes are not told it, only what follows from it.
func kind(service *discoveryv1.Service) string {
	hasNodePort := slices.ContainsFunc(service.GetPorts(), func(p *discoveryv1.ServicePort) bool { return p.GetNodePort() != 0 })
	switch {
	case len(service.GetLoadBalancerIps()) > 0:
		return "LoadBalancer"
	case hasNodePort:
		return "NodePort"
	default:
		return "ClusterIP"
	}
}

func policy(service *discoveryv1.Service) string {
	const local = discoveryv1.TrafficPolicy_TRAFFIC_POLICY_LOCAL
	var parts []string
	if service.GetInternalTrafficPolicy() == local {
		parts = append(parts, "internal Local")
	}
	if service.GetExternalTrafficPolicy() == local {
		parts = append(parts, "external Local")
	}
	if service.GetSessionAffinityTimeout() != nil {
		parts = append(parts, "ClientIP")
	}
	if service.GetScheduler() != "" {
		parts = append(parts, "scheduler "+service.GetScheduler())
	}
	if len(parts) == 0 {
		return "Cluster"
	}
	return strings.Join(parts, ", ")
}

// portList writes ports as kubectl does: "80:30080/TCP,53/UDP".
func portList(ports []*discoveryv1.ServicePort) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		texts[i] = fmt.Sprint(port.GetPort())
		if port.GetNodePort() != 0 {
			texts[i] += fmt.Sprintf(":%d", port.GetNodePort())
		}
		texts[i] += "/" + protocol(port.GetProtocol())
	}
	return strings.Join(texts, ",")
}

func protocol(p discoveryv1.Protocol) string { return strings.TrimPrefix(p.String(), "PROTOCOL_") }

func endpointCount(view *introspectionv1.ServiceView, ofNode bool) string {
	cluster, local := map[string]bool{}, map[string]bool{}
	for _, port := range view.GetPorts() {
		gather(cluster, port.GetClusterEndpoints())
		gather(local, port.GetLocalEndpoints())
	}
	switch {
	case len(cluster) == 0:
		return "none"
	case ofNode:
		return fmt.Sprintf("%d (%d on it)", len(cluster), len(local))
	default:
		return fmt.Sprint(len(cluster))
	}
}

// gather adds the addresses of endpoints, without their ports.
func gather(into map[string]bool, endpoints []string) {
	for _, endpoint := range endpoints {
		into[endpoint[:strings.LastIndexByte(endpoint, ':')]] = true
	}
}
