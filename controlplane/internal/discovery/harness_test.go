package discovery

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// replica is one control plane: a store, a registry and a served Server.
type replica struct {
	store    *snapshot.Store
	nodes    *nodes.Registry
	server   *Server
	grpc     *grpc.Server
	listener *addressed
	// cut, if positive, is after how many bytes to the client the next connection
	// breaks.
	cut     atomic.Int64
	version uint64
}

func newReplica(t testing.TB, configure func(*Config)) *replica {
	t.Helper()
	r := &replica{store: snapshot.NewStore(time.Now), nodes: nodes.NewRegistry(nodes.Config{Now: time.Now}), listener: listen(1 << 16)}
	cfg := Config{Snapshots: r.store, Nodes: r.nodes}
	if configure != nil {
		configure(&cfg)
	}
	var err error
	if r.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.grpc = grpc.NewServer(ServerOptions()...)
	Register(r.grpc, r.server)
	go func() { _ = r.grpc.Serve(r.listener) }()
	return r
}

func (r *replica) stop() { r.grpc.Stop() }

// addressed is a listener whose connections come from where the dialer says.
type addressed struct {
	*bufconn.Listener
	// dialing keeps origins in the order of the connections.
	dialing sync.Mutex
	origins chan net.Addr
}

// listen returns a listener whose connections hold so many bytes each way.
func listen(buffer int) *addressed {
	return &addressed{Listener: bufconn.Listen(buffer), origins: make(chan net.Addr, 1)}
}

// dial connects from an address.
func (l *addressed) dial(ctx context.Context, origin net.Addr) (net.Conn, error) {
	l.dialing.Lock()
	defer l.dialing.Unlock()
	l.origins <- origin
	conn, err := l.DialContext(ctx)
	if err != nil {
		<-l.origins
	}
	return conn, err
}

func (l *addressed) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &from{conn, <-l.origins}, nil
}

type from struct {
	net.Conn
	origin net.Addr
}

func (f *from) RemoteAddr() net.Addr { return f.origin }

// dialFrom returns what connects from an address of its own.
func (r *replica) dialFrom(i int) func(context.Context, string) (net.Conn, error) {
	origin := &net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Port: 1024}
	return func(ctx context.Context, _ string) (net.Conn, error) {
		return r.listener.dial(ctx, origin)
	}
}

func (r *replica) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := r.dialFrom(0)(ctx, address)
	if cut := r.cut.Swap(0); cut > 0 && err == nil {
		return &breaking{Conn: conn, left: cut}, nil
	}
	return conn, err
}

// breaking is a connection that breaks after so many received bytes.
type breaking struct {
	net.Conn
	left int64
}

func (b *breaking) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if len(p) == 0 {
		_ = b.Close()
		return 0, net.ErrClosed
	}
	n, err := b.Conn.Read(p)
	b.left -= int64(n)
	return n, err
}

// commit makes the given resources all that the owner has.
func (r *replica) commit(t testing.TB, owner string, resources ...snapshot.Scoped) {
	t.Helper()
	tx := r.store.Begin()
	if err := tx.Replace(owner, resources); err != nil {
		t.Fatal(err)
	}
	r.version++
	tx.Commit(model.SourceVersion{Source: "cluster", Services: r.version})
}

// services makes n Services with the given port.
func services(n int, port uint32) []snapshot.Scoped {
	var list []snapshot.Scoped
	for i := range n {
		list = append(list, service(fmt.Sprintf("d/s%d", i), port))
	}
	return list
}

func service(name string, port uint32) snapshot.Scoped {
	return snapshot.Scoped{Resource: &discoveryv1.Resource{Name: name, Body: &discoveryv1.Resource_Service{
		Service: &discoveryv1.Service{Ports: []*discoveryv1.ServicePort{{Port: port}}}}}}
}

func endpointSet(zone, name string, port uint32) snapshot.Scoped {
	groups := []*discoveryv1.EndpointGroup{{Ports: []*discoveryv1.EndpointPort{{Port: port}}}}
	return snapshot.Scoped{Scope: snapshot.Scope{Zone: zone}, Resource: &discoveryv1.Resource{Name: name,
		Body: &discoveryv1.Resource_EndpointSet{EndpointSet: &discoveryv1.EndpointSet{Groups: groups}}}}
}

func localEndpoints(node, name string, port uint32) snapshot.Scoped {
	groups := []*discoveryv1.EndpointGroup{{Ports: []*discoveryv1.EndpointPort{{Port: port}}}}
	return snapshot.Scoped{Scope: snapshot.Scope{Node: node}, Resource: &discoveryv1.Resource{Name: name,
		Body: &discoveryv1.Resource_LocalEndpoints{LocalEndpoints: &discoveryv1.LocalEndpoints{Local: groups}}}}
}

func nodeConfig(node, zone string) snapshot.Scoped {
	return snapshot.Scoped{Scope: snapshot.Scope{Node: node}, Resource: &discoveryv1.Resource{Name: node,
		Body: &discoveryv1.Resource_NodeConfig{NodeConfig: &discoveryv1.NodeConfig{Zone: zone}}}}
}

// holds returns what a node should hold now.
func (r *replica) holds(node string) map[resource.Name]uint64 {
	held := map[resource.Name]uint64{}
	for entry := range r.store.Current().View(node).All(func(discoveryv1.Kind) bool { return true }) {
		held[entry.Name] = entry.Version
	}
	return held
}

// state returns a node's state as the registry has it.
func (r *replica) state(node string) string {
	s, ok := r.nodes.Get(node)
	if !ok {
		return "unknown"
	}
	return strings.TrimPrefix(s.State(r.store.Current().Revision).String(), "SYNC_STATE_")
}

// agent is a subscriber with what it was told.
type agent struct {
	*subscribe.Subscriber
	mu     sync.Mutex
	held   map[resource.Name]uint64
	txs    int
	result func() subscribe.Result
	stop   func()
}

func (a *agent) Apply(_ context.Context, tx *subscribe.Transaction) subscribe.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range tx.Removed {
		delete(a.held, name)
	}
	for r := range tx.Resources.All() {
		a.held[resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}] = r.GetVersion()
	}
	a.txs++
	if a.result != nil {
		return a.result()
	}
	return subscribe.Result{}
}

func (a *agent) holds() map[resource.Name]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.held)
}

func (a *agent) transactions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.txs
}

// follow starts an agent. dial says which replica its connections reach.
func follow(t testing.TB, node string, dial func(context.Context, string) (net.Conn, error), configure func(*subscribe.Config)) *agent {
	t.Helper()
	a := &agent{held: map[resource.Name]uint64{}}
	cfg := subscribe.Config{
		Addresses: []string{"cp:1"}, Handler: a, Node: &discoveryv1.Node{Id: node, Instance: "1", AgentVersion: "v1"},
		Rand:        rand.New(rand.NewPCG(3, 4)),
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial)},
	}
	if configure != nil {
		configure(&cfg)
	}
	var err error
	if a.Subscriber, err = subscribe.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.Run(ctx)
	}()
	a.stop = func() {
		cancel()
		<-done
	}
	return a
}

// client is a stream without a subscriber: it says what the test tells it to.
type client struct {
	t      testing.TB
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[discoveryv1.StreamDeltasRequest, discoveryv1.StreamDeltasResponse]
	cancel context.CancelFunc
}

func (r *replica) open(t testing.TB) *client {
	t.Helper()
	return openVia(t, r.dial)
}

func openVia(t testing.TB, dial func(context.Context, string) (net.Conn, error), options ...grpc.DialOption) *client {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial))
	conn, err := grpc.NewClient("passthrough:///cp", options...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := discoveryv1.NewDiscoveryServiceClient(conn).StreamDeltas(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, conn: conn, stream: stream, cancel: cancel}
}

func (c *client) close() {
	c.cancel()
	_ = c.conn.Close()
}

func (c *client) subscribe(s *discoveryv1.Subscribe) *client {
	c.send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Subscribe{Subscribe: s}})
	return c
}

func (c *client) node(id string) *client {
	return c.subscribe(&discoveryv1.Subscribe{Node: &discoveryv1.Node{Id: id, Instance: "raw"}})
}

func (c *client) ack(ack *discoveryv1.Ack) {
	c.send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Ack{Ack: ack}})
}

func (c *client) send(request *discoveryv1.StreamDeltasRequest) {
	_ = c.stream.Send(request)
}

// commit receives pieces up to a commit and returns them.
func (c *client) commit() []*discoveryv1.StreamDeltasResponse {
	c.t.Helper()
	var all []*discoveryv1.StreamDeltasResponse
	for {
		piece, err := c.stream.Recv()
		if err != nil {
			c.t.Fatalf("after %d pieces: %v", len(all), err)
		}
		if all = append(all, piece); piece.GetCommit() {
			return all
		}
	}
}

// last is the piece that commits.
func last(pieces []*discoveryv1.StreamDeltasResponse) *discoveryv1.StreamDeltasResponse {
	return pieces[len(pieces)-1]
}

// ends receives until the stream ends and checks why it does.
func (c *client) ends(code codes.Code, text string) {
	c.t.Helper()
	for {
		_, err := c.stream.Recv()
		if err == nil {
			continue
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), text) {
			c.t.Errorf("ended with %v, want %s %q", err, code, text)
		}
		return
	}
}

// inBubble runs a test in fake time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
