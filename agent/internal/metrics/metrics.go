package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/portolan-net/portolan/agent/internal/reconcile"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// Metrics is the agent's metrics registry and health. It implements
// reconcile.Observer and is safe for concurrent use.
type Metrics struct {
	Registry *prometheus.Registry
	now      func() time.Time

	applies     *prometheus.HistogramVec
	failures    prometheus.Counter
	repairs     prometheus.Counter
	frontends   prometheus.Counter
	lastApplied prometheus.Gauge
	rejected    prometheus.Gauge
	checkpoints *prometheus.CounterVec
	conntrack   prometheus.Counter

	mu sync.Mutex
	// queuedAt is when the oldest change that is not in the kernel was queued; zero
	// if there is none.
	queuedAt, appliedAt time.Time
	// ineligible says why load balancers should not send to this node.
	ineligible string
}

var _ reconcile.Observer = (*Metrics)(nil)

// New returns metrics of an agent whose subscription has the given status.
func New(status func() subscribe.Status, version string, now func() time.Time) *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(), now: now,
		applies: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portolan_agent_apply_duration_seconds", Help: "Time to compute and commit a change to the kernel, by scope: change or whole.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}, []string{"scope"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "portolan_agent_apply_failures_total", Help: "Attempts to change the kernel that failed; the rules before stayed in force."}),
		repairs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "portolan_agent_repairs_total", Help: "Replacements of all rules because somebody else had changed them."}),
		frontends: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "portolan_agent_changed_frontends_total", Help: "Frontends (address, protocol, port) written to the kernel."}),
		lastApplied: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_agent_last_applied_timestamp_seconds", Help: "When the kernel was last brought up to date."}),
		rejected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_agent_rejected_resources", Help: "Resources that cannot be used now; their last good state is in force."}),
		checkpoints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_agent_checkpoints_total", Help: "Checkpoints written to disk, by result: ok or error."}, []string{"result"}),
		conntrack: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubeproxy_conntrack_reconciler_deleted_entries_total", Help: "Conntrack entries deleted because their UDP endpoint does not serve any more."}),
	}
	m.Registry.MustRegister(m.applies, m.failures, m.repairs, m.frontends, m.lastApplied, m.rejected, m.checkpoints, m.conntrack,
		subscriptionCollector{status}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "portolan_agent_build_info", Help: "Always 1; the label says which version runs.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.Registry.MustRegister(build)
	return m
}

// Queued notes that something is to be applied.
func (m *Metrics) Queued() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queuedAt.IsZero() {
		m.queuedAt = m.now()
	}
}

// Applied notes an attempt to change the kernel.
func (m *Metrics) Applied(a reconcile.Attempt) {
	if a.Err != nil {
		m.failures.Inc()
		m.Queued()
		return
	}
	if a.Repair {
		m.repairs.Inc()
	}
	scope := "change"
	if a.Whole {
		scope = "whole"
	}
	m.applies.WithLabelValues(scope).Observe(a.Duration.Seconds())
	m.frontends.Add(float64(a.Frontends))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queuedAt, m.appliedAt = time.Time{}, m.now()
	m.lastApplied.Set(float64(m.appliedAt.UnixNano()) / float64(time.Second))
}

// Rejected notes what is rejected now.
func (m *Metrics) Rejected(list []*discoveryv1.RejectedResource) { m.rejected.Set(float64(len(list))) }

// Eligible notes why load balancers should not send to this node; empty if they
// may.
func (m *Metrics) Eligible(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ineligible = why
}

// Checkpointed notes an attempt to write a checkpoint.
func (m *Metrics) Checkpointed(_ int, err error) {
	if err != nil {
		m.checkpoints.WithLabelValues("error").Inc()
		return
	}
	m.checkpoints.WithLabelValues("ok").Inc()
}

// Conntrack notes a run over the connection table.
func (m *Metrics) Conntrack(entries uint, _ error) { m.conntrack.Add(float64(entries)) }

// subscriptionCollector exports a subscription's status as it is when asked.
type subscriptionCollector struct{ status func() subscribe.Status }

var (
	connectedDesc  = prometheus.NewDesc("portolan_agent_connected", "1 while a control plane is connected.", nil, nil)
	revisionDesc   = prometheus.NewDesc("portolan_agent_revision", "Revision of the last transaction, as the sending replica counts.", nil, nil)
	txDesc         = prometheus.NewDesc("portolan_agent_transactions_total", "Transactions received whole.", nil, nil)
	reconnectsDesc = prometheus.NewDesc("portolan_agent_reconnects_total", "Streams after the first one.", nil, nil)
	mismatchDesc   = prometheus.NewDesc("portolan_agent_digest_mismatches_total", "Transactions after which the content was not what the control plane said.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c subscriptionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectedDesc, revisionDesc, txDesc, reconnectsDesc, mismatchDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c subscriptionCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	connected := 0.0
	if s.Connected {
		connected = 1
	}
	ch <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, connected)
	ch <- prometheus.MustNewConstMetric(revisionDesc, prometheus.GaugeValue, float64(s.Revision))
	ch <- prometheus.MustNewConstMetric(txDesc, prometheus.CounterValue, float64(s.Transactions))
	ch <- prometheus.MustNewConstMetric(reconnectsDesc, prometheus.CounterValue, float64(s.Reconnects))
	ch <- prometheus.MustNewConstMetric(mismatchDesc, prometheus.CounterValue, float64(s.DigestMismatches))
}
