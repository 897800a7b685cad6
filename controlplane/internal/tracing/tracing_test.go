package tracing

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/round"
)

// memory is an exporter that keeps what it is given, unless it is away or hangs.
type memory struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
	away  error
	hangs bool
}

func (m *memory) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	m.mu.Lock()
	hangs, away := m.hangs, m.away
	m.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if away != nil {
		return away
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spans = append(m.spans, spans...)
	return nil
}

func (m *memory) Shutdown(context.Context) error { return nil }

func (m *memory) set(away error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, span := range m.spans {
		names = append(names, span.Name())
	}
	return names
}

// start runs a tracer of everything; stop ends it, and returns how long that took.
func start(exporter sdktrace.SpanExporter, configure func(*Config)) (t *Tracer, stop func() time.Duration) {
	cfg := Config{Exporter: exporter, PerMillion: 1_000_000, Logger: hclog.NewNullLogger(), Instance: "r1", Version: "v1"}
	if configure != nil {
		configure(&cfg)
	}
	t = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = t.Run(ctx) })
	return t, func() time.Duration {
		began := time.Now()
		cancel()
		running.Wait()
		return time.Since(began)
	}
}

func made(revision uint64) round.Result {
	now := time.Now()
	return round.Result{
		Revision: revision, Services: 1, Resources: 3, Began: now, Computed: now, Committed: now,
		Changes: cluster.Changes{
			Services: map[model.Key]struct{}{{Namespace: "default", Name: "web"}: {}}, Received: now.Add(-time.Millisecond),
			Version: model.SourceVersion{Source: "kubernetes/c", Services: 77},
		},
	}
}

func sent(node string, from, to uint64) discovery.Pushed {
	return discovery.Pushed{Node: node, From: from, To: to, At: time.Now()}
}

func TestATraceSaysWhatChangedAndWhichNodeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		tracer, stop := start(m, nil)
		tracer.Round(made(2))
		p := sent("n1", 1, 2)
		tracer.Pushed(p)
		time.Sleep(5 * time.Millisecond)
		tracer.Acknowledged(discovery.Acknowledged{
			Pushed: p, Received: time.Now(), Apply: 3 * time.Millisecond, Resources: 3, Bytes: 500, Kernel: true, Reason: "INTERNAL: no room",
		})
		time.Sleep(2 * quiet)
		if got, want := m.names(), []string{"compile", "commit", "apply", "revision"}; !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		apply, root := m.spans[2], m.spans[3]
		if apply.Status().Code != codes.Error || apply.Status().Description != "INTERNAL: no room" || apply.EndTime().Sub(apply.StartTime()) != 5*time.Millisecond {
			t.Errorf("%+v of %s", apply.Status(), apply.EndTime().Sub(apply.StartTime()))
		}
		if root.Status().Description != "nodes that refused: 1" || root.EndTime().Sub(root.StartTime()) != 6*time.Millisecond {
			t.Errorf("%+v of %s", root.Status(), root.EndTime().Sub(root.StartTime()))
		}
		said := map[string]string{}
		for _, a := range append(root.Attributes(), apply.Attributes()...) {
			said[string(a.Key)] = a.Value.String()
		}
		for key, want := range map[string]string{
			"portolan.revision": "2", "portolan.resources": "3", "portolan.objects": `["Service default/web"]`, "portolan.objects.total": "1",
			"portolan.source": "kubernetes/c", "portolan.source.services": "77", "portolan.nodes.acknowledged": "0", "portolan.nodes.refused": "1",
			"portolan.spans.left_out": "0", "k8s.node.name": "n1", "portolan.bytes": "500", "portolan.full_sync": "false", "portolan.kernel_seconds": "0.003",
		} {
			if said[key] != want {
				t.Errorf("%s is %q, want %q", key, said[key], want)
			}
		}
		if stats := tracer.Stats(); stats != (Stats{Exported: 1}) {
			t.Errorf("%+v", stats)
		}
		stop()
	})
}

func TestOnlyWhatIsSampledIsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, next := &memory{}, 0
		tracer, stop := start(m, func(c *Config) {
			c.PerMillion = 250_000
			c.Random = func(n int) int {
				next++
				return (next - 1) * n / 100 % n
			}
		})
		for i := range uint64(100) {
			tracer.Round(made(i + 1))
			time.Sleep(2 * quiet)
		}
		stop()
		if stats := tracer.Stats(); stats.Exported != 25 || stats.Dropped != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestNobodyWaitsWhenThereIsNoRoom: neither for the keeper nor for a collector that hangs.
func TestNobodyWaitsWhenThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := New(Config{Exporter: &memory{}, PerMillion: 1_000_000, Observations: 10})
		for i := range uint64(25) {
			idle.Round(made(i + 1))
		}
		if stats := idle.Stats(); stats.Missed != 15 {
			t.Errorf("%+v", stats)
		}
		tracer, stop := start(&memory{hangs: true}, nil)
		const rounds = 200
		for i := range uint64(rounds) {
			tracer.Round(made(i + 1))
			time.Sleep(quiet / 10)
		}
		time.Sleep(time.Minute)
		if took := stop(); took > flushWithin {
			t.Errorf("stopping took %s", took)
		}
		if stats := tracer.Stats(); stats.Dropped == 0 || stats.Failed+stats.Dropped != rounds || stats.Missed != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestWhatIsOpenIsSentAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		tracer, stop := start(m, nil)
		tracer.Round(made(2))
		tracer.Pushed(sent("n1", 1, 2))
		if took := stop(); took > flushWithin || !slices.Contains(m.names(), "revision") {
			t.Errorf("after %s: %v", took, m.names())
		}
	})
}

func TestAnOutageOfTheCollectorIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := &memory{}
		tracer, stop := start(m, func(c *Config) { c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log}) })
		revision := uint64(0)
		trace := func(n int, away error) {
			m.set(away)
			for range n {
				revision++
				tracer.Round(made(revision))
				time.Sleep(2 * quiet)
			}
		}
		trace(3, errors.New("connection refused"))
		trace(2, nil)
		trace(3, errors.New("connection refused"))
		stop()
		if warned := strings.Count(log.String(), "[WARN]"); warned != 2 || strings.Count(log.String(), "takes traces again") != 1 {
			t.Errorf("logged:\n%s", log.String())
		}
		if stats := tracer.Stats(); stats.Failed != 6 || stats.Exported != 2 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestObjectsAreNamedUpToABound(t *testing.T) {
	c := cluster.Changes{Services: map[model.Key]struct{}{}, Nodes: map[string]struct{}{"n1": {}}, ServiceCIDRs: true}
	if names, total := changed(c); total != 2 || !slices.Equal(names, []string{"Node n1", "ServiceCIDRs"}) {
		t.Errorf("%v of %d", names, total)
	}
	for _, name := range strings.Split("abcdefgh", "") {
		c.Services[model.Key{Namespace: "d", Name: name}] = struct{}{}
	}
	if names, total := changed(c); total != 10 || len(names) != maxNames || names[0] != "Service d/a" {
		t.Errorf("%v of %d", names, total)
	}
}
