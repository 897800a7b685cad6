package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/health"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/subscribe"
	"github.com/portolan-net/portolan/test/metricstext"
)

func newMetrics() *Metrics {
	return New(Config{Status: func() subscribe.Status { return subscribe.Status{Connected: true, Revision: 7} }, Version: "test", Now: time.Now})
}

var errKernel = errors.New("the kernel says no")

// live makes everything happen once, so that every metric has a sample.
func live(m *Metrics) {
	queue(m, endpoints("demo/web-1", time.Now().Add(time.Second), "10.244.1.1"), endpoints("demo/web-6", time.Now().Add(time.Second), "fd00::1"))
	for _, family := range families {
		m.Applied(reconcile.Attempt{Family: family, Err: errKernel})
		m.Applied(reconcile.Attempt{Family: family, Duration: time.Millisecond})
		m.Applied(reconcile.Attempt{Family: family, Whole: true, Repair: true, Duration: time.Millisecond})
		m.Collected(family, errKernel)
		m.Conntrack(family, 1, time.Millisecond)
	}
	m.Probed(health.Healthz, 200)
	m.Probed(health.Livez, 503)
	m.Rejected(nil)
	m.Configured(&state.NodeConfig{})
	m.Checkpointed(1, nil)
	m.Checkpointed(0, errors.New("disk full"))
	m.Sysctls(1)
}

func gather(t *testing.T, m *Metrics) []*dto.MetricFamily {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestMetricsAreThoseOfKubeProxy by name, type, labels and buckets. There is no
// difference.
func TestMetricsAreThoseOfKubeProxy(t *testing.T) {
	want, err := os.ReadFile("testdata/kubeproxy-metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	live(m)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(metricstext.Describe(gather(t, m), "kubeproxy_"), "\n")); diff != "" {
		t.Errorf("(-kube-proxy +agent)\n%s", diff)
	}
}

func TestNoMetricHasANameOfKubeStateMetrics(t *testing.T) {
	m := newMetrics()
	live(m)
	for _, family := range gather(t, m) {
		if strings.HasPrefix(family.GetName(), "kube_") {
			t.Errorf("%s: names that begin with kube_ are those of kube-state-metrics", family.GetName())
		}
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	// What kube-proxy named against the rules.
	named := map[string]string{"kubeproxy_sync_proxy_rules_no_local_endpoints_total": "a gauge that ends in _total"}
	m := newMetrics()
	live(m)
	problems, err := testutil.GatherAndLint(m.Registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if named[problem.Metric] == "" {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

// expect looks for lines among what is served.
func expect(t *testing.T, m *Metrics, when string, want ...string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	lines := strings.Split(recorder.Body.String(), "\n")
	for _, line := range want {
		if !slices.Contains(lines, line) {
			t.Errorf("%s: there is no line %s", when, line)
		}
	}
}

func TestAttemptsAreCountedByFamilyAndScope(t *testing.T) {
	m := newMetrics()
	m.Applied(reconcile.Attempt{Family: dataplane.IPv4, Whole: true, Duration: 3 * time.Millisecond, Frontends: 5})
	m.Applied(reconcile.Attempt{Family: dataplane.IPv4, Duration: time.Millisecond, Frontends: 2})
	m.Applied(reconcile.Attempt{Family: dataplane.IPv6, Duration: time.Millisecond, Err: errKernel})
	for name, want := range map[string]map[string]uint64{
		"kubeproxy_sync_proxy_rules_duration_seconds":         {"IPv4": 2, "IPv6": 1},
		"kubeproxy_sync_full_proxy_rules_duration_seconds":    {"IPv4": 1},
		"kubeproxy_sync_partial_proxy_rules_duration_seconds": {"IPv4": 1, "IPv6": 1},
	} {
		if diff := cmp.Diff(want, counts(t, m, name)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	expect(t, m, "after attempts",
		`kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 0`,
		`kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv6"} 1`)
	expect(t, m, "after attempts", `portolan_agent_changed_frontends_total{ip_family="IPv4"} 7`)
}

// counts returns how many observations a histogram has of each family.
func counts(t *testing.T, m *Metrics, name string) map[string]uint64 {
	t.Helper()
	got := map[string]uint64{}
	for _, family := range gather(t, m) {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			got[metric.GetLabel()[0].GetValue()] = metric.GetHistogram().GetSampleCount()
		}
	}
	return got
}

func TestTheLastSyncAndTheLastQueuedChangeHaveTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const midnight = 946684800
		m := newMetrics()
		at := func(metric, family string) float64 {
			vec := m.kube.lastSync
			if metric == "queued" {
				vec = m.kube.lastQueued
			}
			return testutil.ToFloat64(vec.WithLabelValues(family)) - midnight
		}
		time.Sleep(time.Second)
		queue(m)
		time.Sleep(time.Second)
		m.Applied(reconcile.Attempt{Family: dataplane.IPv4})
		m.Applied(reconcile.Attempt{Family: dataplane.IPv6})
		time.Sleep(time.Second)
		queue(m)
		m.Applied(reconcile.Attempt{Family: dataplane.IPv6, Err: errKernel})
		for _, family := range []string{"IPv4", "IPv6"} {
			if queued, synced := at("queued", family), at("synced", family); queued != 3 || synced != 2 {
				t.Errorf("%s: last queued after %v s and synced after %v s, want 3 and 2", family, queued, synced)
			}
		}
	})
}

func TestPortsWithoutALocalEndpointAreAGauge(t *testing.T) {
	m := newMetrics()
	m.Applied(reconcile.Attempt{Family: dataplane.IPv4, NoLocal: ruleset.NoLocal{Internal: 2, External: 1}})
	m.Applied(reconcile.Attempt{Family: dataplane.IPv4, NoLocal: ruleset.NoLocal{External: 3}, Err: errKernel})
	want := func(internal, external string) {
		t.Helper()
		expect(t, m, "in force",
			`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} `+external,
			`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"} `+internal)
	}
	want("2", "1")
	m.Applied(reconcile.Attempt{Family: dataplane.IPv4})
	want("0", "0")
}

func TestWhatIsBesideTheRulesIsCounted(t *testing.T) {
	m := newMetrics()
	m.Probed(health.Healthz, 200)
	m.Probed(health.Healthz, 503)
	m.Probed(health.Livez, 200)
	m.Collected(dataplane.IPv6, errKernel)
	m.Collected(dataplane.IPv6, nil)
	m.Conntrack(dataplane.IPv6, 3, 5*time.Millisecond)
	m.Sysctls(2)
	expect(t, m, "answers", `kubeproxy_proxy_healthz_total{code="200"} 1`, `kubeproxy_proxy_healthz_total{code="503"} 1`)
	expect(t, m, "answers", `kubeproxy_proxy_livez_total{code="200"} 1`)
	expect(t, m, "leftovers", `kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family="IPv4"} 0`,
		`kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family="IPv6"} 1`)
	expect(t, m, "conntrack", `kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv6"} 3`)
	expect(t, m, "sysctls", `portolan_agent_sysctl_failures 2`)
	if got := counts(t, m, "kubeproxy_conntrack_reconciler_sync_duration_seconds"); got["IPv6"] != 1 || len(got) != 1 {
		t.Errorf("runs over the connection table: %v", got)
	}
}
