package kubeproxy

import (
	"flag"
	"os"
	"testing"

	componentmetrics "k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/kubernetes/pkg/proxy/apis/config"
	"k8s.io/kubernetes/pkg/proxy/metrics"

	"github.com/portolan-net/portolan/test/metricstext"
)

var update = flag.Bool("update", false, "write the list of kube-proxy's metrics anew")

// list is what the agent's own test compares its metrics with.
const list = "../../../../agent/internal/metrics/testdata/kubeproxy-metrics.txt"

// TestTheListOfMetricsIsKubeProxys compares the list with what kube-proxy registers
// in nftables mode. After an upgrade: go test -run Metrics -update.
func TestTheListOfMetricsIsKubeProxys(t *testing.T) {
	metrics.RegisterMetrics(config.ProxyModeNFTables)
	sampleEach()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := metricstext.Describe(families, "kubeproxy_")
	if *update {
		const readable = 0o644
		if err := os.WriteFile(list, []byte(got), readable); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("kube-proxy has\n%s\nthe list says\n%s", got, want)
	}
}

// sampleEach gives every metric that has labels a sample, so that it can be seen.
// Those that nftables mode does not register stay unseen all the same.
func sampleEach() {
	const family = "IPv4"
	for _, histogram := range []*componentmetrics.HistogramVec{
		metrics.SyncProxyRulesLatency, metrics.SyncFullProxyRulesLatency, metrics.SyncPartialProxyRulesLatency,
		metrics.NetworkProgrammingLatency, metrics.ReconcileConntrackFlowsLatency,
	} {
		histogram.WithLabelValues(family).Observe(1)
	}
	for _, gauge := range []*componentmetrics.GaugeVec{metrics.SyncProxyRulesLastTimestamp, metrics.SyncProxyRulesLastQueuedTimestamp} {
		gauge.WithLabelValues(family).Set(1)
	}
	for _, counter := range []*componentmetrics.CounterVec{
		metrics.IPTablesRestoreFailuresTotal, metrics.IPTablesPartialRestoreFailuresTotal,
		metrics.NFTablesSyncFailuresTotal, metrics.NFTablesCleanupFailuresTotal,
		metrics.ProxyHealthzTotal, metrics.ProxyLivezTotal, metrics.ReconcileConntrackFlowsDeletedEntriesTotal,
	} {
		counter.WithLabelValues(family).Inc()
	}
	for _, gauge := range []*componentmetrics.GaugeVec{
		metrics.SyncProxyRulesNoLocalEndpointsTotal, metrics.IPTablesRulesTotal, metrics.IPTablesRulesLastSync,
	} {
		gauge.WithLabelValues("internal", family).Set(1)
	}
}
