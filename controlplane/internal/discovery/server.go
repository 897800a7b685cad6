package discovery

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// catchUpPoll is how often a stream that waits for a newer snapshot looks. What
// has been seen of the source moves on without a snapshot too, so there is no
// channel to wait for.
const catchUpPoll = 50 * time.Millisecond

// Server is the DiscoveryService.
type Server struct {
	discoveryv1.UnimplementedDiscoveryServiceServer
	cfg       Config
	admission *admission
	streams   *streams
	door      *door
	counters  counters
	// spans and wholes have what is sent to many.
	spans  shelf[spanned]
	wholes shelf[whole]
}

// New returns a server; Register adds it to a grpc.Server made with ServerOptions.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, admission: newAdmission(cfg), streams: newStreams()}
	s.door = newDoor(cfg, &s.counters)
	return s, nil
}

// Register adds the DiscoveryService to a gRPC server that was made with
// ServerOptions.
func Register(registrar grpc.ServiceRegistrar, server *Server) {
	discoveryv1.RegisterDiscoveryServiceServer(registrar, server)
}

// ReportHealth sets the server as a whole and the DiscoveryService to NOT_SERVING
// until there is a snapshot, then to SERVING, and to NOT_SERVING again when the
// context ends. It returns then.
func (s *Server) ReportHealth(ctx context.Context, health *health.Server) {
	set := func(state healthpb.HealthCheckResponse_ServingStatus) {
		health.SetServingStatus("", state)
		health.SetServingStatus(discoveryv1.DiscoveryService_ServiceDesc.ServiceName, state)
	}
	set(healthpb.HealthCheckResponse_NOT_SERVING)
	select {
	case <-s.cfg.Snapshots.First():
		set(healthpb.HealthCheckResponse_SERVING)
	case <-ctx.Done():
	}
	<-ctx.Done()
	set(healthpb.HealthCheckResponse_NOT_SERVING)
}

// Shutdown ends all streams, and every later one, so that subscribers go to
// another replica at once.
func (s *Server) Shutdown() { s.streams.shutdown() }

// StreamDeltas serves one subscription.
func (s *Server) StreamDeltas(stream rpc) error {
	defer s.door.leave()
	if err := s.door.enter(stream.Context()); err != nil {
		return err
	}
	session := newSession(s, stream)
	defer session.kick(nil)
	go session.receive()
	subscribe, err := session.first()
	if err == nil {
		session.subscribed(subscribe, peerAddress(stream.Context()))
		err = s.subscription(session, subscribe)
	}
	if errors.Is(err, errAged) {
		s.counters.aged.Add(1)
		return nil
	}
	if status.Code(err) == codes.InvalidArgument {
		s.counters.invalid.Add(1)
	}
	if errors.Is(err, nodeauth.ErrRevoked) {
		s.counters.revoked.Add(1)
	}
	return err
}

// subscription serves what was subscribed to, if it may be.
func (s *Server) subscription(session *session, subscribe *discoveryv1.Subscribe) error {
	ctx := session.stream.Context()
	grant, err := s.authorize(ctx, subscribe.GetNode().GetId())
	if err != nil {
		s.counters.unauthorized.Add(1)
		return err
	}
	defer grant.End()
	session.grant = grant
	err = s.door.admit(subscribe.GetNode().GetId())
	if err == nil {
		err = s.fresh(ctx, subscribe.GetResume().GetSource())
	}
	if err == nil && !s.streams.join(session) {
		return errShutdown
	}
	if err == nil {
		err = session.serve(subscribe.GetResume())
	}
	session.close(err)
	return err
}

// authorize asks whether the peer may have the node's view.
func (s *Server) authorize(ctx context.Context, node string) (nodeauth.Grant, error) {
	if s.cfg.Authorize == nil {
		return nodeauth.Grant{}, nil
	}
	grant, err := s.cfg.Authorize(ctx, node)
	if _, ok := status.FromError(err); ok {
		return grant, err
	}
	return grant, status.Errorf(codes.PermissionDenied, "view of node %q: %s", node, err)
}

// fresh waits until there is a snapshot that is not older than what the subscriber
// has seen.
func (s *Server) fresh(ctx context.Context, theirs *discoveryv1.SourceVersion) error {
	store := s.cfg.Snapshots
	if store.Current() == nil {
		return status.Error(codes.Unavailable, "not synced: the control plane has not read the whole cluster yet")
	}
	if !behind(store.Seen(), theirs) {
		return nil
	}
	ticker := time.NewTicker(catchUpPoll)
	defer ticker.Stop()
	deadline := time.NewTimer(s.cfg.CatchUp)
	defer deadline.Stop()
	for {
		select {
		case <-ticker.C:
			if !behind(store.Seen(), theirs) {
				return nil
			}
		case <-deadline.C:
			return status.Errorf(codes.Unavailable, "behind: this replica has seen %v, the subscriber %v", sourceProto(store.Seen()), theirs)
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// current returns the newest snapshot, and a point of the source's history that it is
// not behind. The point is read first, because a commit moves it last.
func (s *Server) current() (*snapshot.Snapshot, model.SourceVersion) {
	seen := s.cfg.Snapshots.Seen()
	return s.cfg.Snapshots.Current(), seen
}

func peerAddress(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}
