package introspection

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/origin"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// Cluster is what is known of the cluster's objects.
type Cluster interface {
	// Nodes returns the cluster's Nodes.
	Nodes() []*model.Node
	// Problems returns the objects that could not be used.
	Problems() []model.Problem
}

// Explainer tells why a node sees a Service as it does.
type Explainer interface {
	// Find finds who connects to what, as far as the request says it.
	Find(*introspectionv1.ExplainServiceRequest) (Query, error)
	// Explain explains; its errors may have a gRPC status.
	Explain(Query) (Explanation, error)
}

// Query is what is to be explained.
type Query struct {
	Node    string
	Service model.Key
	// From and To narrow the traffic down, if they are not nil.
	From *origin.Origin
	To   *origin.Target
}

// Explanation is why a node sees a Service as it does: one line a decision, every
// endpoint of the Service, and what becomes of new connections.
type Explanation struct {
	Decisions  []string
	Candidates []*introspectionv1.Candidate
	Traffic    []*introspectionv1.Traffic
}

// Config is what the service reads from. All of it is required.
type Config struct {
	// Replica is this control plane's name among others.
	Replica   string
	Snapshots *snapshot.Store
	Nodes     *nodes.Registry
	Cluster   Cluster
	Explainer Explainer
	// Group returns which entry of the nodes' configuration selects a node, if one does.
	Group func(node string) string
	// Compare asks a node how its kernel differs from what it holds; its errors have a gRPC
	// status.
	Compare func(ctx context.Context, node string) (discovery.Compared, error)
	// Held returns the removals that are held back.
	Held func() brake.State
	Now  func() time.Time
}

// Server is the IntrospectionService.
type Server struct {
	introspectionv1.UnimplementedIntrospectionServiceServer
	cfg Config
}

// New returns a server.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Register adds the IntrospectionService to a gRPC server.
func Register(registrar grpc.ServiceRegistrar, server *Server) {
	introspectionv1.RegisterIntrospectionServiceServer(registrar, server)
}

// ListNodes lists the nodes that are or were connected, and the cluster's Nodes
// that never were, ordered by name.
func (s *Server) ListNodes(_ context.Context, request *introspectionv1.ListNodesRequest) (*introspectionv1.ListNodesResponse, error) {
	current := s.cfg.Snapshots.Current()
	response := &introspectionv1.ListNodesResponse{Revision: revision(current)}
	var err error
	for _, node := range s.nodes() {
		state := node.State(response.GetRevision())
		if wanted := request.GetStates(); len(wanted) == 0 || slices.Contains(wanted, state) {
			described := s.describe(&node, response.GetRevision())
			if described.Config, err = s.config(current, node.Node); err != nil {
				return nil, err
			}
			response.Nodes = append(response.Nodes, described)
		}
	}
	return response, nil
}

// describe returns the status of a node, and who says so.
func (s *Server) describe(node *nodes.Status, current uint64) *introspectionv1.NodeStatus {
	described := nodeStatus(node, current, s.cfg.Now())
	described.Replica, described.CurrentRevision = s.cfg.Replica, current
	return described
}

// nodes returns the status of every node that is known in one way or the other.
func (s *Server) nodes() []nodes.Status {
	list := s.cfg.Nodes.List()
	seen := make(map[string]struct{}, len(list))
	for i := range list {
		seen[list[i].Node] = struct{}{}
	}
	for _, node := range s.cfg.Cluster.Nodes() {
		if _, ok := seen[node.Name]; !ok {
			list = append(list, nodes.Status{Peer: nodes.Peer{Node: node.Name, Zone: node.Zone}, LastError: neverConnected})
		}
	}
	slices.SortFunc(list, func(a, b nodes.Status) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

// neverConnected is said of a Node of the cluster that has no agent.
const neverConnected = "no agent of this node has connected to this control plane"

// CompareNode asks a node how its kernel differs from what it holds.
func (s *Server) CompareNode(ctx context.Context, request *introspectionv1.CompareNodeRequest) (*introspectionv1.CompareNodeResponse, error) {
	compared, err := s.cfg.Compare(ctx, request.GetNode())
	if err != nil {
		return nil, err
	}
	return &introspectionv1.CompareNodeResponse{
		SentRevision: compared.SentRevision, SentDigest: compared.SentDigest,
		Comparison: compared.Comparison, Revision: revision(s.cfg.Snapshots.Current()),
	}, nil
}

// GetView returns what a node should hold now.
func (s *Server) GetView(_ context.Context, request *introspectionv1.GetViewRequest) (*introspectionv1.GetViewResponse, error) {
	view, err := s.view(request.GetNode())
	if err != nil {
		return nil, err
	}
	reader := viewReader{view: view}
	response := &introspectionv1.GetViewResponse{Revision: view.Snapshot().Revision}
	if response.NodeConfig, err = reader.nodeConfig(); err != nil {
		return nil, err
	}
	if response.ClusterConfig, err = reader.clusterConfig(); err != nil {
		return nil, err
	}
	if len(request.GetServices()) == 0 {
		response.Services, err = reader.all()
		return response, err
	}
	for _, name := range request.GetServices() {
		service, err := reader.service(model.ParseKey(name).String())
		if err != nil {
			return nil, err
		}
		response.Services = append(response.Services, service)
	}
	return response, nil
}

// ExplainService tells why a node sees a Service as it does.
func (s *Server) ExplainService(_ context.Context, request *introspectionv1.ExplainServiceRequest) (*introspectionv1.ExplainServiceResponse, error) {
	if request.GetService() == "" && request.GetTo() == "" {
		return nil, status.Error(codes.InvalidArgument, `service is empty: expected "namespace/name"`)
	}
	query, err := s.cfg.Explainer.Find(request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	view, err := s.view(query.Node)
	if err != nil {
		return nil, err
	}
	reader := viewReader{view: view}
	response := &introspectionv1.ExplainServiceResponse{Revision: view.Snapshot().Revision, DecidedAt: query.Node, Service: query.Service.String()}
	if query.From != nil {
		response.From = query.From.Text
	}
	response.View, err = reader.service(query.Service.String())
	if err != nil && status.Code(err) != codes.NotFound {
		return nil, err
	}
	missing := err
	explanation, err := s.cfg.Explainer.Explain(query)
	response.Decisions, response.Candidates, response.Traffic = explanation.Decisions, explanation.Candidates, explanation.Traffic
	switch {
	case missing != nil && (err != nil || len(response.GetDecisions()) == 0):
		return nil, missing
	case err != nil:
		return nil, withStatus(err)
	}
	if node, ok := s.cfg.Nodes.Get(query.Node); ok {
		response.Node = s.describe(&node, response.GetRevision())
		response.Node.Config, err = s.config(view.Snapshot(), query.Node)
	}
	return response, err
}

// ListProblems lists the objects that could not be used. Before everything has been
// read it lists those that are known, but does not say that there are none.
func (s *Server) ListProblems(context.Context, *introspectionv1.ListProblemsRequest) (*introspectionv1.ListProblemsResponse, error) {
	response := &introspectionv1.ListProblemsResponse{}
	for _, p := range s.cfg.Cluster.Problems() {
		response.Problems = append(response.Problems, &introspectionv1.Problem{
			Object: p.Object, Field: p.Field, Value: p.Value, Message: p.Message,
		})
	}
	response.Brake = brakeOf(s.cfg.Held())
	if len(response.Problems) == 0 && s.cfg.Snapshots.Current() == nil {
		return nil, errUnsynced
	}
	return response, nil
}

// revision is 0 before the first snapshot.
func revision(current *snapshot.Snapshot) uint64 {
	if current == nil {
		return 0
	}
	return current.Revision
}

// config returns which configuration a node is told, or nil.
func (s *Server) config(current *snapshot.Snapshot, node string) (*introspectionv1.NodeConfigStatus, error) {
	if current == nil {
		return nil, nil
	}
	found, err := viewReader{view: current.View(node)}.get(discoveryv1.Kind_KIND_NODE_CONFIG, node)
	if err != nil || found == nil {
		return nil, err
	}
	return &introspectionv1.NodeConfigStatus{Mode: found.GetNodeConfig().GetMode(), Version: found.GetVersion(), Group: s.cfg.Group(node)}, nil
}

var errUnsynced = status.Error(codes.Unavailable, "not synced: the control plane has not read the whole cluster yet")

// view returns the view of a node that the cluster has or that has connected, or
// of no node in particular.
func (s *Server) view(node string) (snapshot.View, error) {
	current := s.cfg.Snapshots.Current()
	if current == nil {
		return snapshot.View{}, errUnsynced
	}
	if node == "" {
		return current.View(""), nil
	}
	names := map[string]struct{}{}
	for _, n := range s.cfg.Cluster.Nodes() {
		names[n.Name] = struct{}{}
	}
	if _, known := names[node]; known {
		return current.View(node), nil
	}
	if _, connected := s.cfg.Nodes.Get(node); connected {
		return current.View(node), nil
	}
	for _, n := range s.cfg.Nodes.List() {
		names[n.Node] = struct{}{}
	}
	return snapshot.View{}, notFound("node", node, names)
}

// withStatus gives an error without a gRPC status one.
func withStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Internal, err.Error())
}
