package subscribe

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// network reaches in-memory servers by address.
type network struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	dials     []time.Time
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, time.Now())
	listener := n.listeners[address]
	n.mu.Unlock()
	if listener == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return listener.DialContext(ctx)
}

func (n *network) dialled() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]time.Time(nil), n.dials...)
}

// serve starts a server and returns what stops it.
func (n *network) serve(address string, service discoveryv1.DiscoveryServiceServer, options ...grpc.ServerOption) (stop func()) {
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(append(options, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second}))...)
	discoveryv1.RegisterDiscoveryServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*bufconn.Listener{}
	}
	n.listeners[address] = listener
	return server.Stop
}

// config returns a configuration that reaches the network's servers.
func (n *network) config(handler Handler, addresses ...string) Config {
	return Config{
		Addresses: addresses,
		Handler:   handler,
		Node:      &discoveryv1.Node{Id: "node-1", Instance: "i"},
		Rand:      rand.New(rand.NewPCG(1, 2)),
		DialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(n.dial),
		},
	}
}

// start runs a subscriber until stop is called.
func start(t *testing.T, cfg Config) (s *Subscriber, stop func()) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	return s, func() {
		cancel()
		<-done
	}
}

// keeper is a Handler that keeps what it is told.
type keeper struct {
	mu     sync.Mutex
	held   map[resource.Name]uint64
	txs    []Transaction
	result func(*Transaction) Result
}

func (k *keeper) Apply(_ context.Context, tx *Transaction) Result {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil || tx.Full {
		k.held = map[resource.Name]uint64{}
	}
	for _, name := range tx.Removed {
		delete(k.held, name)
	}
	for r := range tx.Resources.All() {
		k.held[resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}] = r.GetVersion()
	}
	k.txs = append(k.txs, *tx)
	if k.result != nil {
		return k.result(tx)
	}
	return Result{}
}

func (k *keeper) copy() map[resource.Name]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.held)
}

func (k *keeper) transactions() []Transaction {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Transaction(nil), k.txs...)
}

// script is a server whose streams are functions.
type script struct {
	discoveryv1.UnimplementedDiscoveryServiceServer
	mu      sync.Mutex
	streams []func(*discoveryv1.Subscribe, rpc) error
	opened  []time.Time
	resumes []*discoveryv1.Resume
}

type rpc = grpc.BidiStreamingServer[discoveryv1.StreamDeltasRequest, discoveryv1.StreamDeltasResponse]

// StreamDeltas plays the next function; the last one is played again and again.
func (s *script) StreamDeltas(stream rpc) error {
	request, err := stream.Recv()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.opened = append(s.opened, time.Now())
	s.resumes = append(s.resumes, request.GetSubscribe().GetResume())
	play := s.streams[min(len(s.opened), len(s.streams))-1]
	s.mu.Unlock()
	return play(request.GetSubscribe(), stream)
}

func (s *script) openings() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.opened...)
}

func (s *script) resume(i int) *discoveryv1.Resume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumes[i]
}

// forever keeps the stream open.
func forever(stream rpc) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

// then sends the pieces and keeps the stream open.
func then(pieces ...*discoveryv1.StreamDeltasResponse) func(*discoveryv1.Subscribe, rpc) error {
	return func(_ *discoveryv1.Subscribe, stream rpc) error {
		for _, piece := range pieces {
			if err := stream.Send(piece); err != nil {
				return err
			}
		}
		return forever(stream)
	}
}

// sends counts what a subscriber sends or tries to.
type sends struct {
	requests int
}

func (c *sends) watch(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, conn, method, opts...)
	return &counted{ClientStream: stream, sends: c}, err
}

type counted struct {
	grpc.ClientStream
	*sends
}

func (c *counted) SendMsg(m any) error {
	c.requests++
	return c.ClientStream.SendMsg(m)
}

func unavailable(*discoveryv1.Subscribe, rpc) error {
	return status.Error(codes.Unavailable, "not synced")
}

// service makes an encoded Service resource; port tells versions apart.
func service(name string, port uint32) *discoveryv1.Resource {
	r := &discoveryv1.Resource{Name: name, Body: &discoveryv1.Resource_Service{
		Service: &discoveryv1.Service{Ports: []*discoveryv1.ServicePort{{Port: port}}}}}
	return encoded(r)
}

func endpoints(name string, port uint32) *discoveryv1.Resource {
	group := &discoveryv1.EndpointGroup{Ports: []*discoveryv1.EndpointPort{{Port: port}}}
	return encoded(&discoveryv1.Resource{Name: name, Body: &discoveryv1.Resource_EndpointSet{
		EndpointSet: &discoveryv1.EndpointSet{Groups: []*discoveryv1.EndpointGroup{group}}}})
}

func encoded(r *discoveryv1.Resource) *discoveryv1.Resource {
	if _, err := resource.Encode(r); err != nil {
		panic(err)
	}
	return r
}

// digestOf returns the digest that a subscriber with just these resources has.
func digestOf(resources ...*discoveryv1.Resource) uint64 {
	var sum uint64
	for _, r := range resources {
		sum ^= resource.Mix(resource.NameHash(r.GetName()), r.GetVersion())
	}
	return sum
}

func serviceName(name string) resource.Name {
	return resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: name}
}
