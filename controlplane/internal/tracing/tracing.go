package tracing

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/sync/errgroup"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
)

const (
	// maxObservations is how many rounds, pushes and answers may wait for the keeper: a
	// revision of 5,000 nodes is about twice as many, within some hundred milliseconds.
	maxObservations = 16384
	// tick is how often traces are looked at that may be complete.
	tick = 250 * time.Millisecond
	// flushWithin is how long traces may take to be sent when the control plane stops.
	flushWithin = 2 * time.Second
)

// Config says what to trace and where to send it.
type Config struct {
	// Exporter sends spans; NewExporter makes one.
	Exporter sdktrace.SpanExporter
	// PerMillion is how many of a million revisions are traced.
	PerMillion int
	// Instance and Version tell whose the traces are.
	Instance, Version string
	Logger            hclog.Logger
	// Random returns a number below n. Default math/rand/v2.
	Random func(n int) int
	// Observations is how many may wait. Default 16,384.
	Observations int
}

// Stats counts what became of traces, for metrics.
type Stats struct {
	// Exported were taken by the collector, Failed were not. Dropped were never sent, because
	// too many were open or waited for the collector.
	Exported, Failed, Dropped uint64
	// Missed counts rounds, pushes and answers that traces lack.
	Missed uint64
}

// Tracer makes traces. Its methods are safe for concurrent use and never wait.
type Tracer struct {
	cfg          Config
	observations chan func(*keeper)
	keeper       *keeper
	sender       *sender
	missed       atomic.Uint64
}

// New returns a tracer; nothing is sent before Run.
func New(cfg Config) *Tracer {
	if cfg.Random == nil {
		cfg.Random = rand.IntN
	}
	sender := newSender(cfg.Exporter, cfg.Logger)
	spans := newSpans(cfg.Instance, cfg.Version)
	return &Tracer{
		cfg: cfg, sender: sender,
		observations: make(chan func(*keeper), cmp.Or(cfg.Observations, maxObservations)),
		keeper:       newKeeper(func(t *trace) { sender.offer(spans.of(t)) }, sender.drop),
	}
}

// Round notes a round that made a revision, and decides whether that is traced.
func (t *Tracer) Round(r round.Result) {
	const million = 1_000_000
	sampled := t.cfg.Random(million) < t.cfg.PerMillion
	t.observe(func(k *keeper) { k.round(r, sampled, time.Now()) })
}

// Pushed notes that a node is sent something.
func (t *Tracer) Pushed(p discovery.Pushed) { t.observe(func(k *keeper) { k.pushed(p, time.Now()) }) }

// Acknowledged notes a node's answer.
func (t *Tracer) Acknowledged(a discovery.Acknowledged) {
	t.observe(func(k *keeper) { k.acknowledged(a, time.Now()) })
}

func (t *Tracer) observe(observation func(*keeper)) {
	select {
	case t.observations <- observation:
	default:
		t.missed.Add(1)
	}
}

// Stats returns the counts.
func (t *Tracer) Stats() Stats {
	stats := t.sender.stats()
	stats.Missed = t.missed.Load()
	return stats
}

// Run makes and sends traces until the context ends, and then what is left within a bound.
func (t *Tracer) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		t.keep(ctx)
		close(t.sender.traces)
		return nil
	})
	group.Go(func() error { return t.sender.run(ctx) })
	return group.Wait()
}

func (t *Tracer) keep(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			t.rest()
			return
		case observation := <-t.observations:
			observation(t.keeper)
		case now := <-ticker.C:
			t.keeper.complete(now)
		}
	}
}

// rest ends the open traces with what has been observed.
func (t *Tracer) rest() {
	for {
		select {
		case observation := <-t.observations:
			observation(t.keeper)
		default:
			t.keeper.end(time.Now())
			return
		}
	}
}
