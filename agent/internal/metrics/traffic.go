package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portolan-net/portolan/agent/internal/traffic"
)

// trafficCollector exports what was counted of Services as it is when asked.
type trafficCollector struct{ meter *traffic.Meter }

var (
	byService       = []string{"namespace", "service"}
	connectionsDesc = prometheus.NewDesc("portolan_agent_service_connections_total", "Connections to a Service that this node has translated.", byService, nil)
	openDesc        = prometheus.NewDesc("portolan_agent_service_open_connections", "Connections to a Service that this node translates, when the kernel's table was last read.", byService, nil)
	bytesDesc       = prometheus.NewDesc("portolan_agent_service_bytes_total", "Bytes of connections to a Service, with IP headers, by direction: request or reply.", append(byService[:2:2], "direction"), nil)
	lostDesc        = prometheus.NewDesc("portolan_agent_service_traffic_losses_total", "Times that more connections ended than the kernel could tell of; what they carried last is not counted.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c trafficCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, openDesc, bytesDesc, lostDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c trafficCollector) Collect(ch chan<- prometheus.Metric) {
	for _, count := range c.meter.Counts() {
		namespace, name, _ := strings.Cut(count.Service, "/")
		ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.CounterValue, float64(count.Connections), namespace, name)
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(count.Open), namespace, name)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(count.RequestBytes), namespace, name, "request")
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(count.ReplyBytes), namespace, name, "reply")
	}
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(c.meter.Lost()))
}
