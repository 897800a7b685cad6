package tracing

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// maxNames is how many changed objects a trace names.
const maxNames = 5

// service is the name by which tracing systems list what comes from control planes.
const service = "portolan-controlplane"

// spans makes spans of traces. It belongs to one goroutine.
type spans struct {
	tracer    oteltrace.Tracer
	collected collected
}

func newSpans(instance, version string) *spans {
	s := &spans{}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(&s.collected), sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service), attribute.String("service.instance.id", instance), attribute.String("service.version", version),
		)),
	)
	s.tracer = provider.Tracer("github.com/portolan-net/portolan/controlplane")
	return s
}

// of returns the spans of a trace, the root last.
func (s *spans) of(t *trace) []sdktrace.ReadOnlySpan {
	ctx, root := s.tracer.Start(context.Background(), "revision", oteltrace.WithTimestamp(t.began()), oteltrace.WithAttributes(about(t)...))
	_, compile := s.tracer.Start(ctx, "compile", oteltrace.WithTimestamp(t.Began), oteltrace.WithAttributes(attribute.Int("portolan.services", t.Services)))
	compile.End(oteltrace.WithTimestamp(t.Computed))
	_, commit := s.tracer.Start(ctx, "commit", oteltrace.WithTimestamp(t.Computed))
	commit.End(oteltrace.WithTimestamp(t.Committed))
	for i := range t.applies {
		s.apply(ctx, &t.applies[i])
	}
	if why := trouble(t); why != "" {
		root.SetStatus(codes.Error, why)
	}
	root.End(oteltrace.WithTimestamp(t.ended))
	return s.collected.take()
}

// apply makes the span of a node's answer.
func (s *spans) apply(ctx context.Context, a *discovery.Acknowledged) {
	_, span := s.tracer.Start(ctx, "apply", oteltrace.WithTimestamp(a.At), oteltrace.WithAttributes(
		attribute.String("k8s.node.name", a.Node),
		attribute.Int64("portolan.from_revision", int64(a.From)), attribute.Int64("portolan.revision", int64(a.To)),
		attribute.Int("portolan.resources", a.Resources), attribute.Int("portolan.bytes", a.Bytes), attribute.Bool("portolan.full_sync", a.FullSync),
		// How long, and not when: the node's clock is another.
		attribute.Float64("portolan.kernel_seconds", a.Apply.Seconds()),
	))
	if a.Failed() {
		span.SetStatus(codes.Error, a.Reason)
	}
	span.End(oteltrace.WithTimestamp(a.Received))
}

// about returns the root's attributes.
func about(t *trace) []attribute.KeyValue {
	version := t.Changes.Version
	names, total := changed(t.Changes)
	return []attribute.KeyValue{
		attribute.Int64("portolan.revision", int64(t.Revision)),
		attribute.Int("portolan.resources", t.Resources),
		attribute.StringSlice("portolan.objects", names), attribute.Int("portolan.objects.total", total),
		attribute.String("portolan.source", version.Source),
		attribute.Int64("portolan.source.services", int64(version.Services)),
		attribute.Int64("portolan.source.endpoint_slices", int64(version.EndpointSlices)),
		attribute.Int64("portolan.source.nodes", int64(version.Nodes)),
		attribute.Int64("portolan.source.service_cidrs", int64(version.ServiceCIDRs)),
		attribute.Int("portolan.nodes.acknowledged", len(t.nodes)-t.refusals),
		attribute.Int("portolan.nodes.refused", t.refusals),
		attribute.Int("portolan.nodes.silent", t.silent),
		attribute.Int("portolan.spans.left_out", len(t.nodes)-len(t.applies)),
	}
}

// trouble says why the revision is not in force on all nodes that it was sent to, if it is not.
func trouble(t *trace) string {
	switch {
	case t.refusals > 0 && t.late:
		return fmt.Sprintf("nodes that refused: %d, that did not answer within %s: %d", t.refusals, answerWithin, t.silent)
	case t.refusals > 0:
		return fmt.Sprintf("nodes that refused: %d", t.refusals)
	case t.late:
		return fmt.Sprintf("nodes that did not answer within %s: %d", answerWithin, t.silent)
	default:
		return ""
	}
}

// changed names the first few of the objects that the round was made for, and counts all.
func changed(c cluster.Changes) (names []string, total int) {
	for _, key := range slices.SortedFunc(maps.Keys(c.Services), model.Key.Compare) {
		names = append(names, objects.ServiceName(key))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Nodes)) {
		names = append(names, objects.NodeName(name))
	}
	if c.ServiceCIDRs {
		names = append(names, "ServiceCIDRs")
	}
	return names[:min(maxNames, len(names))], len(names)
}
