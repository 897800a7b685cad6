// Package rollout tells how far nodes are with a change: RolloutService. What is to be applied is
// first awaited here, in the objects and in the snapshot that was compiled from them, then at
// the nodes that are connected.
package rollout

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

const (
	// soon and later space the looks at the nodes: changes take milliseconds, and who waits
	// for longer can wait a moment more.
	soon, later = 10 * time.Millisecond, 100 * time.Millisecond
	// soonFor is how long looks are close together.
	soonFor = time.Second
	// maxWatches bounds how many watch at the same time: each look goes through all nodes.
	maxWatches = 256
	// maxBehind bounds the nodes that are named.
	maxBehind = 20
)

// Config is where the answers come from.
type Config struct {
	Objects   *cluster.Store
	Snapshots *snapshot.Store
	Nodes     *nodes.Registry
	// Done returns up to which update of the objects the snapshot has everything.
	Done func() uint64
	// Fresh waits until a Service and its endpoints are as new as the source has them when it
	// is called. Nil takes them as they are.
	Fresh func(ctx context.Context, service model.Key) error
	// Names tells whether the caller may be told names of nodes.
	Names func(ctx context.Context) bool
}

// Server is the RolloutService.
type Server struct {
	rolloutv1.UnimplementedRolloutServiceServer
	cfg   Config
	slots chan struct{}
}

// New returns a server.
func New(cfg Config) *Server { return &Server{cfg: cfg, slots: make(chan struct{}, maxWatches)} }

// Register adds the service to a gRPC server.
func Register(registrar grpc.ServiceRegistrar, server *Server) {
	rolloutv1.RegisterRolloutServiceServer(registrar, server)
}

// target is what is waited for.
type target struct {
	service         model.Key
	present, absent netip.Addr
	// services are those that had the absent endpoint.
	services []model.Key
}

func parse(request *rolloutv1.WatchRequest) (target, error) {
	var t target
	if request.GetService() == "" && request.GetAbsent() == "" {
		return t, status.Error(codes.InvalidArgument, "expected service, or absent")
	}
	if name := request.GetService(); name != "" {
		if t.service = model.ParseKey(name); t.service.Name == "" || strings.Contains(t.service.Name, "/") {
			return t, status.Errorf(codes.InvalidArgument, "service %q: expected NAMESPACE/NAME", name)
		}
	}
	for _, field := range []struct {
		name, text string
		into       *netip.Addr
	}{{"present", request.GetPresent(), &t.present}, {"absent", request.GetAbsent(), &t.absent}} {
		if field.text == "" {
			continue
		}
		address, err := netip.ParseAddr(field.text)
		if err != nil {
			return t, status.Errorf(codes.InvalidArgument, "%s %q: expected an IP address", field.name, field.text)
		}
		*field.into = address.Unmap()
	}
	if t.present.IsValid() && request.GetService() == "" {
		return t, status.Error(codes.InvalidArgument, "present: expected service with it")
	}
	return t, nil
}

// Watch implements rolloutv1.RolloutServiceServer.
func (s *Server) Watch(request *rolloutv1.WatchRequest, stream grpc.ServerStreamingServer[rolloutv1.WatchResponse]) error {
	t, err := parse(request)
	if err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d watch already: expected fewer", maxWatches)
	}
	ctx := stream.Context()
	if s.cfg.Fresh != nil && t.service.Name != "" {
		if err := s.cfg.Fresh(ctx, t.service); err != nil {
			return status.Errorf(codes.Unavailable, "asking the source what is newest: %s", err)
		}
	}
	if t.absent.IsValid() {
		t.services = []model.Key{t.service}
		if t.service.Name == "" {
			t.services = s.cfg.Objects.ServicesWith(t.absent)
		}
	}
	var last *rolloutv1.WatchResponse
	var revision uint64
	for begun := time.Now(); ; {
		now := &rolloutv1.WatchResponse{}
		if revision == 0 {
			now.Pending, revision = s.here(t)
		}
		now.Revision = revision
		s.there(ctx, t, now)
		if last == nil || !proto.Equal(now, last) {
			if err := stream.Send(now); err != nil {
				return err
			}
			last = now
		}
		pause := soon
		if time.Since(begun) > soonFor {
			pause = later
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-time.After(pause):
		}
	}
}

// here returns why this control plane is not there yet, or the revision that nodes are to have.
func (s *Server) here(t target) (pending string, revision uint64) {
	// In this order: what the objects are found to be is in the snapshot once it is done with
	// this sequence.
	sequence := s.cfg.Objects.Sequence()
	if t.service.Name != "" {
		service, owned := s.cfg.Objects.Service(t.service)
		if service == nil {
			return fmt.Sprintf("there is no Service %s that is proxied", t.service), 0
		}
		if t.present.IsValid() {
			if uses, _ := compile.Uses(service, owned, t.present); !uses {
				return fmt.Sprintf("Service %s does not send to %s", t.service, t.present), 0
			}
		}
	}
	for _, key := range t.services {
		service, owned := s.cfg.Objects.Service(key)
		if uses, isFallback := compile.Uses(service, owned, t.absent); uses && isFallback {
			return fmt.Sprintf("Service %s still sends to %s, which terminates, because nothing is ready", key, t.absent), 0
		} else if uses {
			return fmt.Sprintf("Service %s still sends to %s", key, t.absent), 0
		}
	}
	current := s.cfg.Snapshots.Current()
	if current == nil || s.cfg.Done() < sequence {
		return "it is being compiled", 0
	}
	return "", current.Revision
}

// there fills in how far the nodes are.
func (s *Server) there(ctx context.Context, t target, into *rolloutv1.WatchResponse) {
	connected, behind := s.cfg.Nodes.Progress(into.GetRevision(), s.names(t))
	into.Nodes, into.Connected = uint32(s.cfg.Objects.CountNodes()), uint32(len(connected))
	if into.GetRevision() > 0 { // Else nobody has what there is not yet.
		into.Applied = uint32(len(connected) - len(behind))
	}
	if s.cfg.Names != nil && !s.cfg.Names(ctx) {
		return
	}
	slices.Sort(connected)
	for _, node := range s.cfg.Objects.Nodes() { // In order of their names.
		if _, here := slices.BinarySearch(connected, node.Name); !here {
			into.Elsewhere = append(into.Elsewhere, node.Name)
		}
	}
	if into.GetRevision() == 0 {
		return
	}
	slices.SortFunc(behind, func(a, b nodes.Behind) int { return strings.Compare(a.Node, b.Node) })
	for _, b := range behind[:min(len(behind), maxBehind)] {
		into.Behind = append(into.Behind, &rolloutv1.NodeBehind{Node: b.Node, Reason: b.Reason})
	}
}

// names are those of the resources that matter.
func (s *Server) names(t target) map[string]bool {
	names := map[string]bool{}
	for _, key := range append(slices.Clone(t.services), t.service) {
		if key.Name == "" {
			continue
		}
		names[key.String()] = true
		_, owned := s.cfg.Objects.Service(key)
		for _, slice := range owned {
			names[slice.String()] = true
		}
	}
	if len(names) == 0 {
		names["-"] = true // No resource's name: nothing is waited for but the revision.
	}
	return names
}
