package metrics

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/health"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/traffic"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// Config says what metrics are of.
type Config struct {
	// Status tells how the subscription stands.
	Status func() subscribe.Status
	// Traffic counts that of Services; nil if nobody does.
	Traffic *traffic.Meter
	Version string
	Now     func() time.Time
}

// Metrics is the agent's metrics registry, and its health, which is told the same.
// It implements reconcile.Observer and is safe for concurrent use.
type Metrics struct {
	Registry *prometheus.Registry
	Health   *health.Tracker
	own      own
	kube     kubeProxy
	now      func() time.Time

	mu      sync.Mutex
	pending pending
	config  *state.NodeConfig
}

var _ reconcile.Observer = (*Metrics)(nil)

var families = []dataplane.Family{dataplane.IPv4, dataplane.IPv6}

// New returns the metrics of an agent that starts now.
func New(config Config) *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(), Health: health.New(config.Now),
		own: newOwn(config.Version), kube: newKubeProxy(),
		now: config.Now, pending: newPending(config.Now()),
	}
	m.Registry.MustRegister(m.own.collectors()...)
	m.Registry.MustRegister(m.kube.collectors()...)
	m.Registry.MustRegister(subscriptionCollector{config.Status},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if config.Traffic != nil {
		m.Registry.MustRegister(trafficCollector{config.Traffic})
	}
	return m
}

// Queued notes a transaction that is to be applied.
func (m *Metrics) Queued(tx *subscribe.Transaction) {
	m.Health.Queued()
	m.mu.Lock()
	defer m.mu.Unlock()
	services, endpoints := m.pending.queue(tx)
	m.kube.serviceChanges.Add(float64(services))
	m.kube.endpointChanges.Add(float64(endpoints))
	m.showPending()
	for _, family := range families {
		m.kube.lastQueued.WithLabelValues(string(family)).Set(seconds(m.now()))
	}
}

// Resource notes a resource of a queued transaction.
func (m *Metrics) Resource(r *discoveryv1.Resource) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending.trigger(r)
}

func (m *Metrics) showPending() {
	m.kube.servicesPending.Set(float64(m.pending.services))
	m.kube.endpointsPending.Set(float64(m.pending.endpoints))
}

// Applied notes an attempt to bring the kernel's rules of a family up to date.
func (m *Metrics) Applied(a reconcile.Attempt) {
	if a.Missing {
		m.Health.Missing(a.Family)
	} else {
		m.Health.Applied(a.Family, a.Err)
	}
	m.kube.attempted(a)
	if a.Err != nil {
		m.own.failures.WithLabelValues(string(a.Family)).Inc()
		return
	}
	m.own.applied(a, m.now())
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, triggered := range m.pending.applied(a.Family) {
		m.kube.programmed(a.Family, m.now().Sub(triggered))
	}
	m.showPending()
	m.kube.synced(a, m.now())
}

// Collected notes an attempt to remove from the kernel what changes had left there.
func (m *Metrics) Collected(family dataplane.Family, err error) {
	if err != nil {
		m.kube.cleanupFailures.WithLabelValues(string(family)).Inc()
	}
}

// Rejected notes what is rejected now: it will not be in the kernel.
func (m *Metrics) Rejected(list []*discoveryv1.RejectedResource) {
	m.own.rejected.Set(float64(len(list)))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending.reject(list)
}

// Configured notes the node's configuration; nil if the Node is gone.
func (m *Metrics) Configured(config *state.NodeConfig) {
	m.Health.Configured(config)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config = config
}

// NodeConfig returns the configuration in force, or nil.
func (m *Metrics) NodeConfig() *state.NodeConfig {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.config
}

// Checkpointed notes an attempt to write a checkpoint.
func (m *Metrics) Checkpointed(_ int, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.own.checkpoints.WithLabelValues(result).Inc()
}

// Conntrack notes a run over the connection table of a family.
func (m *Metrics) Conntrack(family dataplane.Family, entries uint, took time.Duration) {
	m.kube.conntrackDuration.WithLabelValues(string(family)).Observe(took.Seconds())
	m.kube.conntrackDeleted.WithLabelValues(string(family)).Add(float64(entries))
}

// Sysctls notes how many kernel settings could not be made.
func (m *Metrics) Sysctls(failures int) { m.own.sysctlFailures.Set(float64(failures)) }

// Probed notes an answer to /healthz or /livez.
func (m *Metrics) Probed(probe health.Probe, code int) {
	counter := m.kube.healthz
	if probe == health.Livez {
		counter = m.kube.livez
	}
	counter.WithLabelValues(strconv.Itoa(code)).Inc()
}

// seconds is a time as metrics have it.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
