package demo

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// zones gives the endpoints zone hints, as Kubernetes does for a Service with
// trafficDistribution PreferSameZone, and takes them away again.
func (l *lab) zones(ctx context.Context) (string, error) {
	before, err := l.status(ctx)
	if err != nil {
		return "", err
	}
	l.Say("each endpoint in %s gets a hint: for clients of its own zone", webEndpointsFile)
	hinted, err := l.change(ctx, before, webEndpointsFile, l.webEndpoints(nil, true))
	if err != nil {
		return "", err
	}
	for _, name := range []string{"a1", "c1"} {
		from := l.pod(name)
		tally, err := l.visits(ctx, "pod "+name+" in "+from.node.zone, from.namespace, net.JoinHostPort(webIP, servicePort), enough)
		if err != nil {
			return "", err
		}
		near := slices.DeleteFunc(slices.Clone(l.pods), func(p *pod) bool { return p.node.zone != from.node.zone })
		if err := answeredBy(tally, near); err != nil {
			return "", err
		}
	}
	err = l.explain(ctx, "demo/web", "node-c")
	l.Check("only pods of the client's own zone have answered")
	_, changeErr := l.change(ctx, hinted, webEndpointsFile, l.webEndpoints(nil, false))
	return "zone-a uses its 4 pods, zone-b its 2", errors.Join(err, changeErr)
}

// explain prints why a node uses the endpoints that it uses.
func (l *lab) explain(ctx context.Context, service, node string) error {
	response, err := l.asking.ExplainService(ctx, &introspectionv1.ExplainServiceRequest{Service: service, Node: node})
	if err != nil {
		return l.asking.Explain(err)
	}
	l.Say("portolan explain %s --node %s says:", service, node)
	for _, decision := range response.GetDecisions() {
		if strings.Contains(decision, "serve Cluster traffic") {
			l.Detail("%s", decision)
		}
	}
	return nil
}
