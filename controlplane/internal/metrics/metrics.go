// Package metrics holds the control plane's metrics and serves them, with
// /healthz (the process lives) and /readyz (it serves).
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/events"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
	"github.com/portolan-net/portolan/controlplane/internal/tracing"
)

// Config is what metrics are read from.
type Config struct {
	Cluster   *cluster.Store
	Snapshots *snapshot.Store
	Nodes     *nodes.Registry
	// Stats is asked at each scrape.
	Stats func() discovery.Stats
	// Events is asked at each scrape.
	Events func() events.Stats
	// Traces is asked at each scrape.
	Traces func() tracing.Stats
	// Held is asked at each scrape.
	Held func() brake.State
	// Unauthenticated counts peers that were not let in; it is asked at each scrape.
	Unauthenticated func() uint64
	Version         string
	// Others are collectors beside ours.
	Others []prometheus.Collector
	// Profiling serves /debug/pprof too.
	Profiling bool
}

// Metrics is the control plane's metrics registry. It is safe for concurrent use.
type Metrics struct {
	cfg         Config
	registry    *prometheus.Registry
	compile     prometheus.Histogram
	convergence prometheus.Histogram
	apply       prometheus.Histogram
	nacks       *prometheus.CounterVec
	pushed, lag prometheus.Histogram
	reloads     *prometheus.CounterVec
}

// New returns metrics.
func New(cfg Config) *Metrics {
	durations := prometheus.ExponentialBuckets(0.0005, 2, 18)
	m := &Metrics{
		cfg: cfg, registry: prometheus.NewRegistry(),
		compile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portolan_compile_duration_seconds", Help: "Time of a round that made a new revision.", Buckets: durations}),
		convergence: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portolan_convergence_seconds", Help: "Time from the commit of a revision to a node's acknowledgement, after its kernel holds it.", Buckets: durations}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portolan_node_apply_duration_seconds", Help: "Time that nodes say they took to apply a transaction.", Buckets: durations}),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_nacks_total", Help: "Transactions that a node could not apply whole, by reason: kernel or rejected."}, []string{"reason"}),
		pushed: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portolan_push_bytes", Help: "Bytes of resources of a transaction to a node.", Buckets: prometheus.ExponentialBuckets(64, 4, 12)}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "portolan_source_lag_seconds", Help: "Time from what made endpoints change, as their EndpointSlice says, to the commit of a revision that has it.", Buckets: durations}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_controlplane_configuration_reloads_total", Help: "Changes of the nodes' configuration file, accepted or refused."}, []string{"result"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "portolan_build_info", Help: "Always 1; the label says which version runs.", ConstLabels: prometheus.Labels{"version": cfg.Version}})
	build.Set(1)
	for _, result := range []string{reloadAccepted, reloadRefused} {
		m.reloads.WithLabelValues(result)
	}
	// What has not happened is zero, not absent: alerts look at increases.
	for _, reason := range []string{nackKernel, nackRejected} {
		m.nacks.WithLabelValues(reason)
	}
	m.registry.MustRegister(m.compile, m.convergence, m.apply, m.nacks, m.pushed, m.lag, m.reloads, build, &now{cfg},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(cfg.Others...)
	return m
}

// The reasons of a NACK.
const (
	nackKernel   = "kernel"
	nackRejected = "rejected"
)

// Round notes a round that made a revision.
func (m *Metrics) Round(r round.Result) {
	m.compile.Observe(r.Duration.Seconds())
	for _, lag := range r.Lags {
		m.lag.Observe(lag.Seconds())
	}
}

// The results of a reload.
const (
	reloadAccepted = "accepted"
	reloadRefused  = "refused"
)

// Reloaded notes a change of the nodes' configuration file.
func (m *Metrics) Reloaded(accepted bool) {
	if accepted {
		m.reloads.WithLabelValues(reloadAccepted).Inc()
		return
	}
	m.reloads.WithLabelValues(reloadRefused).Inc()
}

// Acknowledged notes a node's answer.
func (m *Metrics) Acknowledged(a discovery.Acknowledged) {
	m.apply.Observe(a.Apply.Seconds())
	m.pushed.Observe(float64(a.Bytes))
	switch {
	case a.Kernel:
		m.nacks.WithLabelValues(nackKernel).Inc()
	case a.Rejected:
		m.nacks.WithLabelValues(nackRejected).Inc()
	}
	if a.Failed() {
		return
	}
	if a.SinceCommit > 0 {
		m.convergence.Observe(a.SinceCommit.Seconds())
	}
}

// now exports what is true when it is asked.
type now struct{ cfg Config }

var (
	revisionDesc  = prometheus.NewDesc("portolan_revision", "The current revision, as this replica counts.", nil, nil)
	resourcesDesc = prometheus.NewDesc("portolan_resources", "Resources of all scopes in the current revision.", nil, nil)
	problemsDesc  = prometheus.NewDesc("portolan_problems", "Objects, or parts of objects, that are not in force.", nil, nil)
	troubledDesc  = prometheus.NewDesc("portolan_controlplane_objects_not_in_force", "Objects that are not in force, or only in their last good state, or not in part, by kind of reason.", []string{"reason"}, nil)
	nodesDesc     = prometheus.NewDesc("portolan_nodes", "Nodes by state.", []string{"state"}, nil)
	streamsDesc   = prometheus.NewDesc("portolan_streams", "Open streams.", nil, nil)
	sentDesc      = prometheus.NewDesc("portolan_sent_resources_total", "Resources sent.", nil, nil)
	bytesDesc     = prometheus.NewDesc("portolan_sent_bytes_total", "Bytes of resources sent.", nil, nil)
	fullDesc      = prometheus.NewDesc("portolan_full_syncs_total", "Views sent whole.", nil, nil)
	mismatchDesc  = prometheus.NewDesc("portolan_digest_mismatches_total", "Acknowledgements whose digest was not ours.", nil, nil)
	eventsDesc    = prometheus.NewDesc("portolan_controlplane_events_total", "Kubernetes Events by what became of them: written, repeated (counted with one that is there), dropped (beyond the bounds, or of objects that are gone) or failed.", []string{"result"}, nil)
	endedDesc     = prometheus.NewDesc("portolan_controlplane_streams_ended_total", "Streams that were refused or ended, by reason.", []string{"reason"}, nil)
	brakeDesc     = prometheus.NewDesc("portolan_controlplane_brake", "1 while a mass deletion of Services is held back, or nodes are that would lose most of theirs.", nil, nil)
	heldDesc      = prometheus.NewDesc("portolan_controlplane_held_removals", "Services that the source has no more and that nodes keep, because a mass deletion is held back.", nil, nil)
	tracesDesc    = prometheus.NewDesc("portolan_controlplane_traces_total", "Traces by what became of them: exported, failed (the collector did not take them) or dropped (too many at once).", []string{"result"}, nil)
	missedDesc    = prometheus.NewDesc("portolan_controlplane_trace_observations_dropped_total", "Rounds, transactions and acknowledgements that traces lack, because too many came at once.", nil, nil)
	refusedDesc   = prometheus.NewDesc("portolan_refused_streams_total", "Streams that were sent away because too many nodes were being synced.", nil, nil)
)

// Describe implements prometheus.Collector.
func (n *now) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{revisionDesc, resourcesDesc, problemsDesc, troubledDesc, nodesDesc, streamsDesc, sentDesc, bytesDesc, fullDesc, mismatchDesc, eventsDesc, endedDesc, brakeDesc, heldDesc, tracesDesc, missedDesc, refusedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (n *now) Collect(ch chan<- prometheus.Metric) {
	to := sink(ch)
	revision := uint64(0)
	if current := n.cfg.Snapshots.Current(); current != nil {
		revision = current.Revision
		to.gauge(resourcesDesc, current.Len())
	}
	to.gauge(revisionDesc, int(revision))
	problems := n.cfg.Cluster.Problems()
	to.gauge(problemsDesc, len(problems))
	for reason, count := range troubled(problems) {
		to.gauge(troubledDesc, count, reason.String())
	}
	held := n.cfg.Held()
	to.gauge(brakeDesc, flag(held.On()))
	to.gauge(heldDesc, len(held.Held))
	states := n.cfg.Nodes.Count(revision)
	for number, name := range introspectionv1.SyncState_name {
		if number != 0 {
			to.gauge(nodesDesc, states[introspectionv1.SyncState(number)], strings.ToLower(strings.TrimPrefix(name, "SYNC_STATE_")))
		}
	}
	n.collectSaid(to)
}

// collectSaid exports what was said to nodes, and as Events and traces.
func (n *now) collectSaid(to sink) {
	stats := n.cfg.Stats()
	to.gauge(streamsDesc, int(stats.Streams))
	to.counter(sentDesc, stats.Resources)
	to.counter(bytesDesc, stats.Bytes)
	to.counter(fullDesc, stats.FullSyncs)
	to.counter(mismatchDesc, stats.DigestMismatches)
	to.counter(refusedDesc, stats.Refused)
	for reason, count := range ended(stats) {
		to.counter(endedDesc, count, reason)
	}
	to.counter(endedDesc, n.cfg.Unauthenticated(), "unauthenticated")
	said := n.cfg.Events()
	to.counter(eventsDesc, said.Written, "written")
	to.counter(eventsDesc, said.Repeated, "repeated")
	to.counter(eventsDesc, said.Dropped, "dropped")
	to.counter(eventsDesc, said.Failed, "failed")
	traced := n.cfg.Traces()
	to.counter(tracesDesc, traced.Exported, "exported")
	to.counter(tracesDesc, traced.Failed, "failed")
	to.counter(tracesDesc, traced.Dropped, "dropped")
	to.counter(missedDesc, traced.Missed)
}

// ended counts streams by why they were refused or ended.
func ended(stats discovery.Stats) map[string]uint64 {
	return map[string]uint64{
		"full_syncs": stats.Refused, "max_streams": stats.Overfull, "peer_rate": stats.PeerLimited, "node_rate": stats.NodeLimited,
		"held_back": stats.Doubted, "unauthorized": stats.Unauthorized, "revoked": stats.Revoked, "invalid": stats.Invalid, "oversized": stats.Oversized,
		"ack_timeout": stats.AckTimeouts, "takeover": stats.Takeovers, "change_log": stats.Overtaken, "digest_mismatch": stats.DigestMismatches, "age": stats.Aged,
	}
}

// sink takes metrics that are made for one scrape.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v int, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

// troubled counts objects by the reasons of their problems.
func troubled(problems []model.Problem) map[model.Reason]int {
	counts := make(map[model.Reason]int, len(model.Reasons))
	for _, reason := range model.Reasons {
		objects := map[string]struct{}{}
		for i := range problems {
			if problems[i].Reason == reason {
				objects[problems[i].Object] = struct{}{}
			}
		}
		counts[reason] = len(objects)
	}
	return counts
}

// Handler serves /metrics, /healthz and /readyz, and profiles if they are asked for.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	if m.cfg.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if m.cfg.Snapshots.Current() == nil {
			http.Error(w, "not ready: the source has not delivered everything yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	return mux
}

// Serve serves a handler until the context ends.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}
