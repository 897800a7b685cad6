package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portolan-net/portolan/agent/internal/reconcile"
)

// own are the metrics that kube-proxy does not have.
type own struct {
	applies        *prometheus.HistogramVec
	failures       *prometheus.CounterVec
	repairs        *prometheus.CounterVec
	frontends      *prometheus.CounterVec
	lastApplied    prometheus.Gauge
	rejected       prometheus.Gauge
	checkpoints    *prometheus.CounterVec
	sysctlFailures prometheus.Gauge
	build          prometheus.Gauge
}

func newOwn(version string) own {
	o := own{
		applies: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portolan_agent_apply_duration_seconds", Help: "Time to compute and commit a change to the kernel, by scope: change or whole.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}, []string{ipFamily, "scope"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_agent_apply_failures_total", Help: "Attempts to change the kernel that failed; the rules before stayed in force."}, []string{ipFamily}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_agent_repairs_total", Help: "Replacements of all rules because somebody else had changed them."}, []string{ipFamily}),
		frontends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_agent_changed_frontends_total", Help: "Frontends (address, protocol, port) written to the kernel."}, []string{ipFamily}),
		lastApplied: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_agent_last_applied_timestamp_seconds", Help: "When the kernel was last brought up to date."}),
		rejected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_agent_rejected_resources", Help: "Resources that cannot be used now; their last good state is in force."}),
		checkpoints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_agent_checkpoints_total", Help: "Checkpoints written to disk, by result: ok or error."}, []string{"result"}),
		sysctlFailures: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_agent_sysctl_failures", Help: "Kernel settings of the configuration that could not be made."}),
		build: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_agent_build_info", Help: "Always 1; the label says which version runs.", ConstLabels: prometheus.Labels{"version": version}}),
	}
	o.build.Set(1)
	return o
}

func (o *own) collectors() []prometheus.Collector {
	return []prometheus.Collector{o.applies, o.failures, o.repairs, o.frontends, o.lastApplied, o.rejected, o.checkpoints, o.sysctlFailures, o.build}
}

// applied notes an attempt that succeeded.
func (o *own) applied(a reconcile.Attempt, now time.Time) {
	family, scope := string(a.Family), "change"
	if a.Whole {
		scope = "whole"
	}
	if a.Repair {
		o.repairs.WithLabelValues(family).Inc()
	}
	o.applies.WithLabelValues(family, scope).Observe(a.Duration.Seconds())
	o.frontends.WithLabelValues(family).Add(float64(a.Frontends))
	o.lastApplied.Set(seconds(now))
}
