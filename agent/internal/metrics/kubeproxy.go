package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
)

const ipFamily = "ip_family"

// kubeProxy are the metrics of kube-proxy in nftables mode
// (k8s.io/kubernetes/pkg/proxy/metrics).
type kubeProxy struct {
	sync, fullSync, partialSync       *prometheus.HistogramVec
	lastSync, lastQueued              *prometheus.GaugeVec
	programming                       *prometheus.HistogramVec
	endpointsPending, servicesPending prometheus.Gauge
	endpointChanges, serviceChanges   prometheus.Counter
	noLocal                           *prometheus.GaugeVec
	healthz, livez                    *prometheus.CounterVec
	syncFailures, cleanupFailures     *prometheus.CounterVec
	conntrackDuration                 *prometheus.HistogramVec
	conntrackDeleted                  *prometheus.CounterVec
}

func newKubeProxy() kubeProxy {
	k := kubeProxy{
		sync:        histogram("sync_proxy_rules_duration_seconds", "Time of an attempt to bring the kernel's rules up to date, whole or not.", syncBuckets()),
		fullSync:    histogram("sync_full_proxy_rules_duration_seconds", "Time of an attempt to replace all rules.", syncBuckets()),
		partialSync: histogram("sync_partial_proxy_rules_duration_seconds", "Time of an attempt to change some rules.", syncBuckets()),
		lastSync:    gauges("sync_proxy_rules_last_timestamp_seconds", "When the kernel's rules were last brought up to date.", ipFamily),
		lastQueued:  gauges("sync_proxy_rules_last_queued_timestamp_seconds", "When a change was last queued for the kernel.", ipFamily),
		programming: histogram("network_programming_duration_seconds",
			"Time from a change of a Service's endpoints, as their EndpointSlice says, to when the kernel's rules followed.", programmingBuckets()),
		endpointsPending: gauge("sync_proxy_rules_endpoint_changes_pending", "Changed resources with endpoints that are not in the kernel."),
		servicesPending:  gauge("sync_proxy_rules_service_changes_pending", "Changed Services that are not in the kernel."),
		endpointChanges:  counter("sync_proxy_rules_endpoint_changes_total", "Changed resources with endpoints."),
		serviceChanges:   counter("sync_proxy_rules_service_changes_total", "Changed Services."),
		noLocal: gauges("sync_proxy_rules_no_local_endpoints_total",
			"Service ports with a Local policy that have endpoints, but none on this node, now.", "traffic_policy", ipFamily),
		healthz:           counters("proxy_healthz_total", "Answers of /healthz, by HTTP status.", "code"),
		livez:             counters("proxy_livez_total", "Answers of /livez, by HTTP status.", "code"),
		syncFailures:      counters("sync_proxy_rules_nftables_sync_failures_total", "Attempts to bring the kernel's rules up to date that failed.", ipFamily),
		cleanupFailures:   counters("sync_proxy_rules_nftables_cleanup_failures_total", "Attempts to remove what changes had left in the kernel that failed.", ipFamily),
		conntrackDuration: histogram("conntrack_reconciler_sync_duration_seconds", "Time to look for connections to UDP endpoints that do not serve any more.", syncBuckets()),
		conntrackDeleted:  counters("conntrack_reconciler_deleted_entries_total", "Conntrack entries deleted because their UDP endpoint does not serve any more.", ipFamily),
	}
	// A failure that has not happened is zero, not absent: alerts look at increases.
	for _, family := range families {
		k.syncFailures.WithLabelValues(string(family))
		k.cleanupFailures.WithLabelValues(string(family))
	}
	return k
}

func (k *kubeProxy) collectors() []prometheus.Collector {
	return []prometheus.Collector{k.sync, k.fullSync, k.partialSync, k.lastSync, k.lastQueued, k.programming,
		k.endpointsPending, k.servicesPending, k.endpointChanges, k.serviceChanges, k.noLocal, k.healthz, k.livez,
		k.syncFailures, k.cleanupFailures, k.conntrackDuration, k.conntrackDeleted}
}

// attempted notes an attempt, whatever came of it.
func (k *kubeProxy) attempted(a reconcile.Attempt) {
	family, scope := string(a.Family), k.partialSync
	if a.Whole {
		scope = k.fullSync
	}
	k.sync.WithLabelValues(family).Observe(a.Duration.Seconds())
	scope.WithLabelValues(family).Observe(a.Duration.Seconds())
	if a.Err != nil {
		k.syncFailures.WithLabelValues(family).Inc()
	}
}

// synced notes what is true after an attempt that succeeded.
func (k *kubeProxy) synced(a reconcile.Attempt, now time.Time) {
	family := string(a.Family)
	k.lastSync.WithLabelValues(family).Set(seconds(now))
	k.noLocal.WithLabelValues("internal", family).Set(float64(a.NoLocal.Internal))
	k.noLocal.WithLabelValues("external", family).Set(float64(a.NoLocal.External))
}

// programmed notes how long a change took. The two ends are read from two clocks, so
// it can seem to have taken less than no time; a sum must not go down.
func (k *kubeProxy) programmed(family dataplane.Family, took time.Duration) {
	k.programming.WithLabelValues(string(family)).Observe(max(0, took).Seconds())
}

func syncBuckets() []float64 { return prometheus.ExponentialBuckets(0.001, 2, 15) }

// programmingBuckets are fine where the SLO is: half a minute, in large clusters. The
// first is for nothing: kube-proxy has it.
func programmingBuckets() []float64 {
	return slices.Concat(
		[]float64{0, 0.25, 0.5},
		prometheus.LinearBuckets(1, 1, 59),
		prometheus.LinearBuckets(60, 5, 12),
		prometheus.LinearBuckets(120, 30, 7),
	)
}

func prefixed(rest string) string { return "kubeproxy_" + rest }

func histogram(rest, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefixed(rest), Help: help, Buckets: buckets}, []string{ipFamily})
}

func gauges(rest, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefixed(rest), Help: help}, labels)
}

func counters(rest, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefixed(rest), Help: help}, labels)
}

func gauge(rest, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefixed(rest), Help: help})
}

func counter(rest, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: prefixed(rest), Help: help})
}
