package tracing

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"
)

const (
	// exportWithin bounds one attempt to send a trace.
	exportWithin = 5 * time.Second
	// maxTraces is how many traces may wait for the collector.
	maxTraces = 64
)

// NewExporter returns what sends spans to a collector by OTLP over gRPC. It connects when there
// is something to send.
func NewExporter(endpoint string, transport credentials.TransportCredentials) (sdktrace.SpanExporter, error) {
	return otlptracegrpc.New(context.Background(), otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithTLSCredentials(transport),
		// Traces wait in our own channel, whose losses are counted; an attempt that is
		// repeated would hold up those behind it.
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}), otlptracegrpc.WithTimeout(exportWithin))
}

// collected is a span processor that keeps what has ended. It belongs to one goroutine.
type collected struct{ spans []sdktrace.ReadOnlySpan }

// OnStart implements sdktrace.SpanProcessor.
func (c *collected) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (c *collected) OnEnd(span sdktrace.ReadOnlySpan) { c.spans = append(c.spans, span) }

// Shutdown implements sdktrace.SpanProcessor.
func (c *collected) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (c *collected) ForceFlush(context.Context) error { return nil }

// take returns the spans and forgets them.
func (c *collected) take() []sdktrace.ReadOnlySpan {
	taken := c.spans
	c.spans = nil
	return taken
}

// sender sends traces one after the other.
type sender struct {
	exporter                  sdktrace.SpanExporter
	log                       hclog.Logger
	traces                    chan []sdktrace.ReadOnlySpan
	exported, failed, dropped atomic.Uint64
	// away is set while the collector takes nothing.
	away bool
}

func newSender(exporter sdktrace.SpanExporter, log hclog.Logger) *sender {
	return &sender{exporter: exporter, log: log, traces: make(chan []sdktrace.ReadOnlySpan, maxTraces)}
}

// offer hands a trace over, or drops it.
func (s *sender) offer(trace []sdktrace.ReadOnlySpan) {
	select {
	case s.traces <- trace:
	default:
		s.drop()
	}
}

func (s *sender) drop() { s.dropped.Add(1) }

func (s *sender) stats() Stats {
	return Stats{Exported: s.exported.Load(), Failed: s.failed.Load(), Dropped: s.dropped.Load()}
}

// run sends until there are no more traces. Once the context ends it has flushWithin for
// those that are left.
func (s *sender) run(ctx context.Context) error {
	limited, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(flushWithin, cancel) })
	defer stop()
	for trace := range s.traces {
		s.send(limited, trace)
	}
	if err := s.exporter.Shutdown(limited); err != nil && limited.Err() == nil {
		s.log.Debug("the exporter of traces has not stopped in good order", "error", err)
	}
	return nil
}

func (s *sender) send(ctx context.Context, trace []sdktrace.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(ctx, exportWithin)
	defer cancel()
	err := s.exporter.ExportSpans(ctx, trace)
	if err == nil {
		s.exported.Add(1)
		if s.away {
			s.log.Info("the collector takes traces again", "lost", s.failed.Load()+s.dropped.Load())
		}
	} else {
		s.failed.Add(1)
		if !s.away {
			s.log.Warn("the collector does not take traces; they are lost until it does", "error", err)
		}
	}
	s.away = err != nil
}
