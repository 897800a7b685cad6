package zpages

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// config is of an agent that has been up for 90 s, after changes.
func config(changes ...func(*Config)) Config {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "answer"}))
	started := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := Config{
		Component: "portolan-agent", Version: "1.2.3", Node: "node-a", Metrics: registry, SLIs: NewSLIs(),
		NodeConfig: func() *state.NodeConfig { return nil }, Flags: map[string]string{"server": "[192.0.2.10:9440]", "node": "node-a"},
		Started: started, Now: func() time.Time { return started.Add(90 * time.Second) },
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func ask(c Config, method, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	Handler(c).ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder
}

func TestPages(t *testing.T) {
	const text = "text/plain; charset=utf-8"
	for path, want := range map[string]struct{ kind, body string }{
		"/proxyMode": {text, "nftables"},
		"/healthz":   {text, "ok"},
		"/flagz":     {text, "portolan-agent flags\nFor people: the format may change.\n\nnode=node-a\nserver=[192.0.2.10:9440]\n"},
		"/statusz": {text, "portolan-agent status\nFor people: the format may change.\n\nStarted: 2026-03-01T12:00:00Z\nUp: 1m30s\n" +
			"Mode: nftables\nNode: node-a\nVersion: 1.2.3\nGo version: " + runtime.Version() + "\n"},
	} {
		answer := ask(config(), http.MethodGet, path)
		if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != want.kind {
			t.Errorf("%s answers %d, %s", path, answer.Code, answer.Header().Get("Content-Type"))
		}
		if diff := cmp.Diff(want.body, answer.Body.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
	if body := ask(config(), http.MethodGet, "/metrics").Body.String(); !strings.Contains(body, "answer 0") {
		t.Errorf("/metrics answers %s", body)
	}
}

func TestTheModeIsTheConfigurations(t *testing.T) {
	c := config(func(c *Config) {
		c.NodeConfig = func() *state.NodeConfig { return &state.NodeConfig{Mode: discoveryv1.ProxyMode_PROXY_MODE_IPVS} }
	})
	if body := ask(c, http.MethodGet, "/proxyMode").Body.String(); body != "ipvs" {
		t.Errorf("/proxyMode answers %s", body)
	}
}

func TestNothingButGETIsAnswered(t *testing.T) {
	c := config(func(c *Config) { c.Profiling = true })
	for _, path := range []string{"/metrics", "/metrics/slis", "/proxyMode", "/healthz", "/configz", "/flagz", "/statusz", "/debug/pprof/symbol"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			if code := ask(c, method, path).Code; code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s is answered with %d", method, path, code)
			}
		}
	}
}

func TestProfilesAreServedOnlyIfSwitchedOn(t *testing.T) {
	for profiling, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		c := config(func(c *Config) { c.Profiling = profiling })
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap"} {
			if code := ask(c, http.MethodGet, path).Code; code != want {
				t.Errorf("with profiling %v, %s answers %d, want %d", profiling, path, code, want)
			}
		}
	}
}

func TestTheConfigurationInForceIsServed(t *testing.T) {
	get := func(c Config) (configuration, map[string]any) {
		t.Helper()
		var got configuration
		var node map[string]any
		answer := ask(c, http.MethodGet, "/configz")
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%v: %s", err, answer.Body)
		}
		if err := json.Unmarshal(got.NodeConfig, &node); err != nil {
			t.Fatal(err)
		}
		return got, node
	}
	if got, node := get(config()); node != nil || got.Flags["node"] != "node-a" {
		t.Errorf("before the control plane has spoken: %v, flags %v", node, got.Flags)
	}
	held := &state.NodeConfig{Name: "node-a", NodePortPrimary: true, SyncPeriod: time.Minute}
	_, node := get(config(func(c *Config) { c.NodeConfig = func() *state.NodeConfig { return held } }))
	for field, want := range map[string]any{"syncPeriod": "60s", "masqueradeAll": false, "nodePortAddresses": []any{"primary"}} {
		if diff := cmp.Diff(want, node[field]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", field, diff)
		}
	}
}

func TestWhatHealthChecksSaidIsAnIndicator(t *testing.T) {
	c := config()
	c.SLIs.Observe("proxy", "livez", true)
	c.SLIs.Observe("proxy", "livez", false)
	ask(c, http.MethodGet, "/healthz")
	body := ask(c, http.MethodGet, "/metrics/slis").Body.String()
	for _, want := range []string{
		`kubernetes_healthcheck{name="ping",type="healthz"} 1`,
		`kubernetes_healthcheck{name="proxy",type="livez"} 0`,
		`kubernetes_healthchecks_total{name="ping",status="success",type="healthz"} 1`,
		`kubernetes_healthchecks_total{name="proxy",status="error",type="livez"} 1`,
		`kubernetes_healthchecks_total{name="proxy",status="success",type="livez"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, "answer") {
		t.Error("other metrics are among the indicators")
	}
}
