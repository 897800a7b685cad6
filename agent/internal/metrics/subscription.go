package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/portolan-net/portolan/api/subscribe"
)

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
