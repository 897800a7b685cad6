// Package administration serves the AdminService: what people tell a running control
// plane to do.
package administration

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	adminv1 "github.com/portolan-net/portolan/api/portolan/admin/v1"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Brake holds removals back.
type Brake interface {
	// Held returns the removals that wait.
	Held() brake.State
	// Release lets removals go, on whose word why says, and returns those that waited.
	Release(keys []model.Key, why string) []model.Key
	// Trust takes what the source delivered at the start for what there is.
	Trust(why string)
}

// Config is what the service works on. All of it is required.
type Config struct {
	Brake  Brake
	Logger hclog.Logger
}

// Server is the AdminService.
type Server struct {
	adminv1.UnimplementedAdminServiceServer
	cfg Config
}

// New returns a server.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Register adds the AdminService to a gRPC server.
func Register(registrar grpc.ServiceRegistrar, server *Server) {
	adminv1.RegisterAdminServiceServer(registrar, server)
}

const why = "an operator released it"

// ReleaseBrake lets a mass deletion go that is held back.
func (s *Server) ReleaseBrake(_ context.Context, request *adminv1.ReleaseBrakeRequest) (*adminv1.ReleaseBrakeResponse, error) {
	before := s.cfg.Brake.Held()
	keys := before.Held
	if names := request.GetServices(); len(names) > 0 {
		keys = keys[:0]
		for _, name := range names {
			keys = append(keys, model.ParseKey(name))
		}
	}
	response := &adminv1.ReleaseBrakeResponse{NodesReleased: before.Doubted > 0}
	if response.GetNodesReleased() {
		s.cfg.Brake.Trust(why)
	}
	for _, key := range s.cfg.Brake.Release(keys, why) {
		response.Released = append(response.Released, key.String())
	}
	response.Held = uint32(len(s.cfg.Brake.Held().Held))
	s.cfg.Logger.Info("asked to release what is held back", "released", len(response.GetReleased()), "still_held", response.GetHeld())
	return response, nil
}
