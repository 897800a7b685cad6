package controlplane

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// collector is a server of OTLP that keeps the spans that it is sent.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *collector) Export(_ context.Context, request *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range request.GetResourceSpans() {
		for _, scope := range from.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// tree returns the spans by name of the trace whose root names an object; nil if it has not come.
func (c *collector) tree(object string) map[string][]*tracev1.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, root := range c.spans {
		if root.GetName() != "revision" || !strings.Contains(attributeOf(root, "portolan.objects"), object) {
			continue
		}
		tree := map[string][]*tracev1.Span{}
		for _, span := range c.spans {
			if string(span.GetTraceId()) == string(root.GetTraceId()) {
				tree[span.GetName()] = append(tree[span.GetName()], span)
			}
		}
		return tree
	}
	return nil
}

func attributeOf(span *tracev1.Span, key string) string {
	for _, attribute := range span.GetAttributes() {
		if attribute.GetKey() == key {
			return attribute.GetValue().String()
		}
	}
	return ""
}

// serveCollector starts a collector on loopback.
func serveCollector(t *testing.T) (*collector, string) {
	t.Helper()
	listener := loopback(t)
	c, server := &collector{}, grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c, listener.Addr().String()
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// handler applies what it is sent, or refuses it.
type handler struct {
	refuse error
	txs    chan *subscribe.Transaction
}

func (h *handler) Apply(_ context.Context, tx *subscribe.Transaction) subscribe.Result {
	h.txs <- tx
	return subscribe.Result{Err: h.refuse, ApplyDuration: 7 * time.Millisecond}
}

// node subscribes as an agent would.
func node(t *testing.T, name, address string, refuse error) *handler {
	t.Helper()
	h := &handler{refuse: refuse, txs: make(chan *subscribe.Transaction, 100)}
	s, err := subscribe.New(subscribe.Config{
		Addresses: []string{address}, Handler: h, Node: &discoveryv1.Node{Id: name, Instance: name},
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return h
}

// tracingPlane runs a control plane of a directory of manifests that traces each revision, and
// returns the directory and where agents connect.
func tracingPlane(t *testing.T, endpoint string) (dir, agents string, plane *controlPlane) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "nodes.yaml"), "{apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: n2}}\n")
	listener := loopback(t)
	plane, err := assemble(Config{
		Manifests: dir, Agents: listener, Logger: hclog.NewNullLogger(), Rand: rand.Reader, Instance: "r1", Version: "v1",
		IdentityConfig: IdentityConfig{AgentAuth: AgentAuthNone},
		TracingConfig:  TracingConfig{TracingEndpoint: endpoint, TracingCredentials: insecure.NewCredentials(), TracingSamplingRatePerMillion: 1_000_000},
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		if err := plane.run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return dir, listener.Addr().String(), plane
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

func received(t *testing.T, h *handler) *subscribe.Transaction {
	t.Helper()
	select {
	case tx := <-h.txs:
		return tx
	case <-time.After(20 * time.Second):
		t.Fatal("no transaction within 20 s")
		return nil
	}
}

// TestAChangeIsTracedFromTheSourceToTheNodes: one trace of a control plane, as a collector gets
// it, with an ACK of one node and a NACK of another.
func TestAChangeIsTracedFromTheSourceToTheNodes(t *testing.T) {
	collector, endpoint := serveCollector(t)
	dir, agents, _ := tracingPlane(t, endpoint)
	willing, unwilling := node(t, "n1", agents, nil), node(t, "n2", agents, errors.New("no room"))
	received(t, willing)
	received(t, unwilling)
	before := time.Now()
	write(t, filepath.Join(dir, "services.yaml"), twoServices)
	received(t, willing)
	received(t, unwilling)
	var tree map[string][]*tracev1.Span
	eventually(t, "a trace of the Service", func() bool {
		tree = collector.tree("Service demo/web")
		return tree != nil
	})
	if len(tree["revision"]) != 1 || len(tree["compile"]) != 1 || len(tree["commit"]) != 1 || len(tree["apply"]) != 2 {
		t.Fatalf("got %v", tree)
	}
	root, compile, commit := tree["revision"][0], tree["compile"][0], tree["commit"][0]
	at := func(time uint64, what string, after uint64) uint64 {
		if time < after {
			t.Errorf("%s: before what it follows", what)
		}
		return time
	}
	began := at(root.GetStartTimeUnixNano(), "event received", uint64(before.UnixNano()))
	began = at(compile.GetStartTimeUnixNano(), "round began", began)
	computed := at(compile.GetEndTimeUnixNano(), "computed", began)
	if commit.GetStartTimeUnixNano() != computed {
		t.Error("the commit does not follow the computing")
	}
	committed := at(commit.GetEndTimeUnixNano(), "committed", computed)
	for _, apply := range tree["apply"] {
		if string(apply.GetParentSpanId()) != string(root.GetSpanId()) {
			t.Errorf("%v is not below the root", apply)
		}
		sent := at(apply.GetStartTimeUnixNano(), "sent", committed)
		answered := at(apply.GetEndTimeUnixNano(), "answered", sent)
		at(root.GetEndTimeUnixNano(), "end", answered)
		refused := strings.Contains(attributeOf(apply, "k8s.node.name"), "n2")
		if code := apply.GetStatus().GetCode(); (code == tracev1.Status_STATUS_CODE_ERROR) != refused {
			t.Errorf("%v", apply)
		}
		if refused && !strings.Contains(apply.GetStatus().GetMessage(), "no room") {
			t.Errorf("the reason is %q", apply.GetStatus().GetMessage())
		}
		if !strings.Contains(attributeOf(apply, "portolan.kernel_seconds"), "0.007") {
			t.Errorf("the kernel took %s", attributeOf(apply, "portolan.kernel_seconds"))
		}
	}
	for key, want := range map[string]string{
		"portolan.nodes.acknowledged": "int_value:1", "portolan.nodes.refused": "int_value:1", "portolan.nodes.silent": "int_value:0",
	} {
		if got := attributeOf(root, key); !strings.Contains(got, want) {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

// TestACollectorThatIsAwayDisturbsNobody: nodes get what changes, and the losses are counted.
func TestACollectorThatIsAwayDisturbsNobody(t *testing.T) {
	nobody := loopback(t)
	_ = nobody.Close()
	dir, agents, plane := tracingPlane(t, nobody.Addr().String())
	willing := node(t, "n1", agents, nil)
	received(t, willing)
	write(t, filepath.Join(dir, "services.yaml"), twoServices)
	received(t, willing)
	eventually(t, "a failure is counted", func() bool { return plane.traceStats().Failed > 0 })
	write(t, filepath.Join(dir, "services.yaml"), strings.ReplaceAll(twoServices, "port: 80", "port: 81"))
	received(t, willing)
	if stats := plane.traceStats(); stats.Exported != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestWithoutACollectorNobodyIsToldOfWhatIsSent(t *testing.T) {
	c, err := assemble(Config{Manifests: t.TempDir(), Logger: hclog.NewNullLogger(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if c.tracer != nil || c.pushed() != nil {
		t.Error("traces are made for nobody")
	}
}

func TestASamplingRateThatMakesNoSenseIsRefused(t *testing.T) {
	for rate, want := range map[int]string{
		0:         "--tracing-sampling-rate-per-million 0: expected how many of a million revisions are traced, from 1 to 1000000",
		1_000_001: "--tracing-sampling-rate-per-million 1000001: expected",
	} {
		config := Config{Manifests: t.TempDir(), Logger: hclog.NewNullLogger()}
		config.TracingEndpoint, config.TracingSamplingRatePerMillion = "127.0.0.1:4317", rate
		if _, err := assemble(config); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
