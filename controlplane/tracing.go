package controlplane

import (
	"fmt"

	"google.golang.org/grpc/credentials"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/tracing"
)

// TracingConfig says where traces of revisions go. The zero value traces nothing.
type TracingConfig struct {
	// TracingEndpoint is the host:port of a collector that takes OTLP over gRPC; empty means
	// that there are no traces. TracingCredentials are its TLS.
	TracingEndpoint    string
	TracingCredentials credentials.TransportCredentials
	// TracingSamplingRatePerMillion is how many of a million revisions are traced.
	TracingSamplingRatePerMillion int
}

// DefaultTracingSamplingRatePerMillion is how many of a million revisions are traced by
// default: one of a hundred. A large cluster makes some revisions a second all day, each of
// up to 67 spans.
const DefaultTracingSamplingRatePerMillion = 10_000

// trace makes what traces revisions, if there is somebody to send them to.
func (c *controlPlane) trace() error {
	if c.TracingEndpoint == "" {
		return nil
	}
	const million = 1_000_000
	if rate := c.TracingSamplingRatePerMillion; rate < 1 || rate > million {
		return fmt.Errorf("--tracing-sampling-rate-per-million %d: expected how many of a million revisions are traced, from 1 to %d", rate, million)
	}
	exporter, err := tracing.NewExporter(c.TracingEndpoint, c.TracingCredentials)
	if err != nil {
		return fmt.Errorf("--tracing-endpoint %s: %w", c.TracingEndpoint, err)
	}
	c.tracer = tracing.New(tracing.Config{
		Exporter: exporter, PerMillion: c.TracingSamplingRatePerMillion,
		Instance: c.Instance, Version: c.Version, Logger: c.Logger.Named("tracing"),
	})
	return nil
}

// rounds returns who is told of each round.
func (c *controlPlane) rounds() func(round.Result) {
	if c.tracer == nil {
		return c.metrics.Round
	}
	return func(r round.Result) {
		c.metrics.Round(r)
		c.tracer.Round(r)
	}
}

// acknowledged returns who is told of each answer of a node.
func (c *controlPlane) acknowledged() func(discovery.Acknowledged) {
	if c.tracer == nil {
		return c.metrics.Acknowledged
	}
	return func(a discovery.Acknowledged) {
		c.metrics.Acknowledged(a)
		c.tracer.Acknowledged(a)
	}
}

// pushed returns who is told of what nodes are sent, or nil.
func (c *controlPlane) pushed() func(discovery.Pushed) {
	if c.tracer == nil {
		return nil
	}
	return c.tracer.Pushed
}

// traceStats returns what became of traces so far.
func (c *controlPlane) traceStats() tracing.Stats {
	if c.tracer == nil {
		return tracing.Stats{}
	}
	return c.tracer.Stats()
}
