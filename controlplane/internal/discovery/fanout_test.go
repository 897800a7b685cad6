package discovery

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
	"github.com/portolan-net/portolan/test/cost"
)

// crowdVariable has the address and the number of the subscribers that a process is to
// be. They are a process of their own so that the server's processor time and memory
// are told apart from theirs.
const crowdVariable = "PORTOLAN_BENCH_CROWD"

// skimming is a codec that reads of a response only what an Ack needs. A crowd has two
// processors where nodes have their own.
type skimming struct {
	encoding.CodecV2
}

func (c skimming) Unmarshal(data mem.BufferSlice, v any) error {
	response, is := v.(*discoveryv1.StreamDeltasResponse)
	if !is {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	var head []byte
	for rest := buffer.ReadOnlyData(); len(rest) > 0; {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if number != resourcesField {
			head = append(head, rest[:n]...)
		}
		rest = rest[n:]
	}
	return proto.Unmarshal(head, response)
}

// resourcesField is that of StreamDeltasResponse.
const resourcesField = 3

// TestCrowd is that process: it acknowledges whatever is committed, and writes a line
// whenever all subscribers have done so.
func TestCrowd(t *testing.T) {
	address, count, ok := strings.Cut(os.Getenv(crowdVariable), "|")
	if !ok {
		t.Skip("only a benchmark runs this")
	}
	var n int64
	if _, err := fmt.Sscan(count, &n); err != nil {
		t.Fatal(err)
	}
	const window = 1 << 20 // As package subscribe has it.
	subscribers := []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(skimming{encoding.GetCodecV2(protocodec.Name)})),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
	}
	var committed atomic.Int64
	var running sync.WaitGroup
	for i := range n {
		dial := func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
		c := openVia(t, dial, subscribers...).node(fmt.Sprintf("n%d", i))
		running.Go(func() {
			for {
				piece, err := c.stream.Recv()
				if err != nil {
					// The others would wait for this one for ever.
					fmt.Println("a stream ended:", err)
					os.Exit(1)
				}
				if !piece.GetCommit() {
					continue
				}
				c.ack(&discoveryv1.Ack{ResponseNonce: piece.GetNonce(), Digest: piece.GetDigest()})
				if committed.Add(1)%n == 0 {
					fmt.Println("all")
				}
			}
		})
	}
	running.Wait()
}

// audience is a crowd seen from the server's side.
type audience struct {
	lines *bufio.Scanner
	end   func()
}

// invite starts a crowd and waits until it holds what there is.
func invite(b *testing.B, address string, n int) *audience {
	b.Helper()
	command := exec.Command(os.Args[0], "-test.run", "^TestCrowd$")
	command.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", crowdVariable, address, n))
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	a := &audience{lines: bufio.NewScanner(out), end: sync.OnceFunc(func() {
		_ = command.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = command.Wait()
	})}
	b.Cleanup(a.end)
	a.wait(b)
	return a
}

// wait waits until every subscriber has committed once more.
func (a *audience) wait(b *testing.B) {
	b.Helper()
	if !a.lines.Scan() || a.lines.Text() != "all" {
		why := a.lines.Text()
		for range 2 { // What the test says of it.
			a.lines.Scan()
			why += "\n" + a.lines.Text()
		}
		b.Fatalf("the subscribers ended: %s", why)
	}
}

// numbered gives each connection an address of its own, as nodes have.
type numbered struct {
	net.Listener
	last atomic.Int64
}

func (l *numbered) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	i := l.last.Add(1)
	return &from{conn, &net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Port: 1024}}, nil
}

// serveCrowd serves on a port of the loopback, and returns its address.
func serveCrowd(b *testing.B, server *grpc.Server) string {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Serve(&numbered{Listener: listener}) }()
	return listener.Addr().String()
}

// marshaller is the peer: a server that encodes each response for each stream, as grpc
// does unless told otherwise, and is else as simple as can be: it has its response ready.
type marshaller struct {
	discoveryv1.UnimplementedDiscoveryServiceServer
	mu      sync.Mutex
	current *discoveryv1.StreamDeltasResponse
	changed chan struct{}
}

func (m *marshaller) set(response *discoveryv1.StreamDeltasResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed != nil {
		close(m.changed)
	}
	m.current, m.changed = response, make(chan struct{})
}

func (m *marshaller) get() (*discoveryv1.StreamDeltasResponse, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, m.changed
}

func (m *marshaller) StreamDeltas(stream rpc) error {
	sent := uint64(0)
	for {
		if _, err := stream.Recv(); err != nil { // Subscribe, or the Ack.
			return err
		}
		response, changed := m.get()
		for response.GetNonce() == sent {
			select {
			case <-changed:
			case <-stream.Context().Done():
				return nil
			}
			response, changed = m.get()
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		sent = response.GetNonce()
	}
}

// both are our server and the peer, which serve the same.
type both struct {
	ours        *replica
	peer        *marshaller
	oursAddress string
	peerAddress string
	rounds      uint32
	resources   int
}

func serveBoth(b *testing.B, resources int) *both {
	b.Helper()
	s := &both{ours: newReplica(b, nil), peer: &marshaller{}, resources: resources}
	b.Cleanup(s.ours.stop)
	s.oursAddress = serveCrowd(b, s.ours.grpc)
	// The options are the same, but for the codec that lets encoded messages pass.
	plain := grpc.NewServer(append(ServerOptions(), grpc.ForceServerCodecV2(encoding.GetCodecV2(protocodec.Name)))...)
	discoveryv1.RegisterDiscoveryServiceServer(plain, s.peer)
	b.Cleanup(plain.Stop)
	s.peerAddress = serveCrowd(b, plain)
	s.ours.commit(b, "cluster", s.next()...)
	s.peer.set(s.response())
	return s
}

// next returns new content: as many Services' endpoints, of which each has ten.
func (s *both) next() []snapshot.Scoped {
	s.rounds++
	list := make([]snapshot.Scoped, s.resources)
	for i := range list {
		group := &discoveryv1.EndpointGroup{Ports: []*discoveryv1.EndpointPort{{Name: "http", Port: 1024 + s.rounds}}}
		for e := range 10 {
			group.Endpoints = append(group.Endpoints, &discoveryv1.Endpoint{Address: fmt.Sprintf("10.%d.%d.%d", i>>8, i&255, e)})
		}
		list[i].Resource = &discoveryv1.Resource{Name: fmt.Sprintf("namespace-%d/service-%d", i%100, i), Version: uint64(s.rounds),
			Body: &discoveryv1.Resource_EndpointSet{EndpointSet: &discoveryv1.EndpointSet{Groups: []*discoveryv1.EndpointGroup{group}}}}
	}
	return list
}

// response is what the peer sends for the same content, in one message.
func (s *both) response() *discoveryv1.StreamDeltasResponse {
	response := &discoveryv1.StreamDeltasResponse{Nonce: uint64(s.rounds), Revision: uint64(s.rounds), Commit: true}
	s.rounds-- // next counts.
	for _, r := range s.next() {
		response.Resources = append(response.Resources, r.Resource)
	}
	return response
}

// resident returns the memory of this process in KiB.
func resident(b *testing.B) float64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib
}

// BenchmarkFanOut is one commit sent to all streams and acknowledged by all: what the
// server process uses, its kernel's work included, beside a server that marshals for
// each client, in turns.
func BenchmarkFanOut(b *testing.B) {
	for _, resources := range []int{1, 100} {
		for _, streams := range []int{10, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("resources=%d/streams=%d", resources, streams), func(b *testing.B) {
				s := serveBoth(b, resources)
				before := resident(b)
				ours := invite(b, s.oursAddress, streams)
				grown := (resident(b) - before) / float64(streams)
				peer := invite(b, s.peerAddress, streams)
				var spent, peers time.Duration
				for b.Loop() {
					content := s.next()
					begun := cost.CPU()
					s.ours.commit(b, "cluster", content...)
					ours.wait(b)
					spent += cost.CPU() - begun
					response := s.response()
					begun = cost.CPU()
					s.peer.set(response)
					peer.wait(b)
					peers += cost.CPU() - begun
				}
				b.ReportMetric(grown, "KiB/stream")
				b.ReportMetric(float64(spent.Microseconds())/1000/float64(b.N), "ours-cpu-ms/commit")
				b.ReportMetric(float64(peers.Microseconds())/1000/float64(b.N), "peer-cpu-ms/commit")
			})
		}
	}
}

// BenchmarkFullSyncs is subscribers that hold nothing and come for everything.
func BenchmarkFullSyncs(b *testing.B) {
	const clients = 20
	s := serveBoth(b, 10_000)
	var spent, peers time.Duration
	for b.Loop() {
		begun := cost.CPU()
		invite(b, s.oursAddress, clients).end()
		spent += cost.CPU() - begun
		begun = cost.CPU()
		invite(b, s.peerAddress, clients).end()
		peers += cost.CPU() - begun
	}
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(b.N*clients), "ours-cpu-ms/sync")
	b.ReportMetric(float64(peers.Microseconds())/1000/float64(b.N*clients), "peer-cpu-ms/sync")
	b.ReportMetric(float64(proto.Size(s.response()))/1000, "kB/sync")
}
