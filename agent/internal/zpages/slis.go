package zpages

import "github.com/prometheus/client_golang/prometheus"

const (
	// ping is the check that a process answers at all, by the name that Kubernetes
	// components give it.
	ping    = "ping"
	healthz = "healthz"
)

// SLIs are what health checks said, by the names that Kubernetes components use
// (k8s.io/component-base/metrics/prometheus/slis). They are apart from other
// metrics so that they can be asked for more often.
type SLIs struct {
	registry *prometheus.Registry
	last     *prometheus.GaugeVec
	total    *prometheus.CounterVec
}

// NewSLIs returns the indicators of an agent that nobody has asked yet.
func NewSLIs() *SLIs {
	s := &SLIs{
		registry: prometheus.NewRegistry(),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubernetes_healthcheck", Help: "What a health check said last: 1 if all was well."}, []string{"name", "type"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubernetes_healthchecks_total", Help: "What health checks said, by status: success or error."}, []string{"name", "type", "status"}),
	}
	s.registry.MustRegister(s.last, s.total)
	return s
}

// Observe notes what a check said, which is of a type such as healthz or livez.
func (s *SLIs) Observe(name, kind string, well bool) {
	value, status := 0.0, "error"
	if well {
		value, status = 1, "success"
	}
	s.last.WithLabelValues(name, kind).Set(value)
	s.total.WithLabelValues(name, kind, status).Inc()
}
