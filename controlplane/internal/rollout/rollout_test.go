package rollout

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// plane is a control plane whose rounds are made by hand.
type plane struct {
	t         *testing.T
	objects   *cluster.Store
	snapshots *snapshot.Store
	registry  *nodes.Registry
	driver    *round.Driver
	client    rolloutv1.RolloutServiceClient
	anonymous bool
	fresh     error
}

var web = model.Key{Namespace: "demo", Name: "web"}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, objects: cluster.NewStore(), snapshots: snapshot.NewStore(time.Now), registry: nodes.NewRegistry(nodes.Config{Now: time.Now})}
	p.driver = round.New(round.Config{Cluster: p.objects, Snapshots: p.snapshots, Settings: compile.DefaultSettings(), Logger: hclog.NewNullLogger()})
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	Register(server, New(Config{Objects: p.objects, Snapshots: p.snapshots, Nodes: p.registry, Done: p.driver.Done,
		Fresh: func(context.Context, model.Key) error { return p.fresh },
		Names: func(context.Context) bool { return !p.anonymous }}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.client = rolloutv1.NewRolloutServiceClient(conn)
	p.objects.Update(func(tx *cluster.Tx) {
		tx.SetSynced()
		for _, name := range []string{"node-a", "node-b", "node-c"} {
			tx.SetNode(&model.Node{Name: name})
		}
	})
	p.endpoints(true, "10.0.0.1", "10.0.0.2")
	p.driver.Round()
	return p
}

// endpoints are the Service's from now on, ready or terminating.
func (p *plane) endpoints(ready bool, addresses ...string) {
	slice := &model.Slice{Key: model.Key{Namespace: "demo", Name: "web-1"}, Service: web.Name, Ports: []model.SlicePort{{Protocol: model.TCP, Port: 8080}}}
	for _, a := range addresses {
		slice.Endpoints = append(slice.Endpoints, model.Endpoint{Addr: netip.MustParseAddr(a), Ready: ready, Serving: true, Terminating: !ready})
	}
	p.objects.Update(func(tx *cluster.Tx) {
		tx.SetService(&model.Service{Key: web, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Ports: []model.Port{{Protocol: model.TCP, Port: 80}}})
		tx.SetSlice(slice)
	})
}

// watch returns a function that waits for an answer of which something holds.
func (p *plane) watch(request *rolloutv1.WatchRequest) func(what string, holds func(*rolloutv1.WatchResponse) bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	p.t.Cleanup(cancel)
	stream, err := p.client.Watch(ctx, request)
	if err != nil {
		p.t.Fatal(err)
	}
	return func(what string, holds func(*rolloutv1.WatchResponse) bool) {
		p.t.Helper()
		for {
			answer, err := stream.Recv()
			if err != nil {
				p.t.Fatalf("%s: %v", what, err)
			}
			if holds(answer) {
				return
			}
		}
	}
}

// TestNodesAreFollowedOneByOne: those that are behind, reject, are elsewhere.
func TestNodesAreFollowedOneByOne(t *testing.T) {
	p := newPlane(t)
	a, b := p.registry.Connect(nodes.Peer{Node: "node-a"}), p.registry.Connect(nodes.Peer{Node: "node-b"})
	until := p.watch(&rolloutv1.WatchRequest{Service: "demo/web"})
	until("nobody has it", func(r *rolloutv1.WatchResponse) bool {
		return r.GetPending() == "" && r.GetRevision() == 1 && r.GetNodes() == 3 && r.GetConnected() == 2 && r.GetApplied() == 0 &&
			len(r.GetBehind()) == 2 && slices.Equal(r.GetElsewhere(), []string{"node-c"})
	})
	a.Acked(nodes.Ack{Revision: 1})
	until("one has", func(r *rolloutv1.WatchResponse) bool {
		return r.GetApplied() == 1 && r.GetBehind()[0].GetNode() == "node-b"
	})
	b.Acked(nodes.Ack{Revision: 1, Rejected: []*discoveryv1.RejectedResource{{Name: &discoveryv1.ResourceName{Name: "demo/web"}, Reason: "no room"}}})
	until("the other rejects it", func(r *rolloutv1.WatchResponse) bool {
		return r.GetApplied() == 1 && strings.Contains(r.GetBehind()[0].GetReason(), "rejected demo/web: no room")
	})
	b.Acked(nodes.Ack{Revision: 1, Rejected: []*discoveryv1.RejectedResource{{Name: &discoveryv1.ResourceName{Name: "demo/web-api"}, Reason: "no room"}}})
	until("or another Service, which does not matter", func(r *rolloutv1.WatchResponse) bool { return r.GetApplied() == 2 })
	b.Acked(nodes.Ack{Revision: 1, Error: "no memory"})
	until("or cannot apply", func(r *rolloutv1.WatchResponse) bool {
		return r.GetApplied() == 1 && r.GetBehind()[0].GetReason() == "no memory"
	})
	b.Close("bye")
	until("or goes", func(r *rolloutv1.WatchResponse) bool { return r.GetConnected() == 1 && len(r.GetElsewhere()) == 2 })
}

// TestAnEndpointIsUsedUntilTheSnapshotSaysOtherwise, not only the objects.
func TestAnEndpointIsUsedUntilTheSnapshotSaysOtherwise(t *testing.T) {
	p := newPlane(t)
	a := p.registry.Connect(nodes.Peer{Node: "node-a"})
	a.Acked(nodes.Ack{Revision: 1})
	absent := p.watch(&rolloutv1.WatchRequest{Absent: "10.0.0.1"})
	present := p.watch(&rolloutv1.WatchRequest{Service: "demo/web", Present: "10.0.0.3"})
	pending := func(text string) func(*rolloutv1.WatchResponse) bool {
		return func(r *rolloutv1.WatchResponse) bool {
			return strings.Contains(r.GetPending(), text) && r.GetRevision() == 0 && r.GetApplied() == 0
		}
	}
	absent("it is used", pending("Service demo/web still sends to 10.0.0.1"))
	present("it is not", pending("Service demo/web does not send to 10.0.0.3"))
	p.endpoints(true, "10.0.0.2", "10.0.0.3")
	absent("the objects have changed, the snapshot has not", pending("being compiled"))
	p.driver.Round()
	absent("nor has the node", func(r *rolloutv1.WatchResponse) bool { return r.GetRevision() == 2 && r.GetApplied() == 0 })
	present("of both", func(r *rolloutv1.WatchResponse) bool { return r.GetRevision() == 2 && r.GetApplied() == 0 })
	a.Acked(nodes.Ack{Revision: 2})
	absent("now it has", func(r *rolloutv1.WatchResponse) bool { return r.GetApplied() == 1 })
	p.endpoints(false, "10.0.0.2", "10.0.0.3")
	p.driver.Round()
	p.watch(&rolloutv1.WatchRequest{Absent: "10.0.0.2"})("what terminates is used while nothing is ready", pending("which terminates, because nothing is ready"))
	p.watch(&rolloutv1.WatchRequest{Absent: "10.0.0.99"})("what no Service has is not used", func(r *rolloutv1.WatchResponse) bool { return r.GetRevision() > 0 })
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	p := newPlane(t)
	ask := func(request *rolloutv1.WatchRequest) error {
		stream, err := p.client.Watch(t.Context(), request)
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for want, request := range map[string]*rolloutv1.WatchRequest{
		"expected service, or absent":            {},
		`service "a/b/c": expected`:              {Service: "a/b/c"},
		`absent "web": expected an IP address`:   {Absent: "web"},
		"present: expected service with it":      {Present: "10.0.0.1", Absent: "10.0.0.2"},
		`present "here": expected an IP address`: {Service: "demo/web", Present: "here"},
	} {
		if err := ask(request); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", request, err, want)
		}
	}
	p.fresh = errors.New("the API server is away")
	if err := ask(&rolloutv1.WatchRequest{Service: "demo/web"}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the API server is away") {
		t.Error(err)
	}
}

// TestAgentsAreToldNumbersAlone, and no names of other nodes.
func TestAgentsAreToldNumbersAlone(t *testing.T) {
	p := newPlane(t)
	p.anonymous = true
	p.registry.Connect(nodes.Peer{Node: "node-a"})
	p.watch(&rolloutv1.WatchRequest{Service: "demo/web"})("numbers", func(r *rolloutv1.WatchResponse) bool {
		if len(r.GetBehind())+len(r.GetElsewhere()) > 0 {
			t.Errorf("told %v", r)
		}
		return r.GetNodes() == 3 && r.GetConnected() == 1
	})
}
