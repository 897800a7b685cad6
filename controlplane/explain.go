package controlplane

import (
	"cmp"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/introspection"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
	"github.com/portolan-net/portolan/controlplane/internal/origin"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/traffic"
)

// explainer answers from the objects themselves.
type explainer struct {
	objects *cluster.Store
	driver  *round.Driver
}

// Find implements introspection.Explainer.
func (e explainer) Find(request *introspectionv1.ExplainServiceRequest) (introspection.Query, error) {
	query := introspection.Query{Node: request.GetNode(), Service: model.ParseKey(request.GetService())}
	if request.GetTo() != "" {
		to, err := origin.To(request.GetTo(), e.objects)
		if err != nil {
			return query, err
		}
		query.To, query.Service, query.Node = &to, to.Service, cmp.Or(query.Node, to.Node)
	}
	if request.GetFrom() == "" {
		return query, nil
	}
	from, err := origin.Find(request.GetFrom(), query.Node, e.objects)
	query.From, query.Node = &from, from.Node
	return query, err
}

// Explain implements introspection.Explainer.
func (e explainer) Explain(query introspection.Query) (introspection.Explanation, error) {
	name, key := query.Node, query.Service
	service, owned := e.objects.Service(key)
	if service == nil && slices.Contains(e.driver.Held().Held, key) {
		return introspection.Explanation{Decisions: []string{"the source has this Service no more; that is held back as part of a mass deletion, and nodes keep it"}}, nil
	}
	if service == nil {
		return introspection.Explanation{}, status.Errorf(codes.NotFound, "Service %s is not proxied", key)
	}
	settings, node := e.driver.Current(), e.objects.Node(name)
	service = settings.Allow(service)
	zone := ""
	if node != nil {
		zone = node.Zone
	}
	var explanation introspection.Explanation
	explanation.Decisions, explanation.Candidates = compile.Explain(service, owned, name, zone)
	for _, problem := range e.objects.Problems() {
		if problem.Object == objects.ServiceName(key) {
			explanation.Decisions = append(explanation.Decisions, "not in force: "+problem.Detail())
		}
	}
	if node == nil {
		explanation.Decisions = append(explanation.Decisions, "traffic is not told: the cluster has no Node "+name)
		return explanation, nil
	}
	ofNode := settings.For(node)
	explanation.Decisions = append(explanation.Decisions, ofNode.Scheduler(service))
	var complete bool
	explanation.Traffic, complete = traffic.Answer(traffic.Question{
		Service: service, Slices: owned, Node: node, ServiceCIDRs: e.objects.ServiceCIDRs(), Settings: ofNode,
		From: query.From, To: query.To,
	})
	if !complete {
		explanation.Decisions = append(explanation.Decisions, "traffic is not told of all frontends: the Service has too many endpoints for that")
	}
	return explanation, nil
}
