package agent

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/agent/internal/metrics"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/subscribe"
)

func TestPagesTellOfTheAgent(t *testing.T) {
	observed := metrics.New(metrics.Config{Status: func() subscribe.Status { return subscribe.Status{} }, Now: time.Now})
	answers, pages := handlers(Config{Node: "node-a", Version: "1.2.3", Flags: map[string]string{"profiling": "true"}, Profiling: true}, observed)
	get := func(from http.Handler, path string) string {
		recorder := httptest.NewRecorder()
		from.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
		return recorder.Body.String()
	}
	observed.Configured(&state.NodeConfig{Name: "node-a", Ineligible: "the Node is being deleted"})
	get(answers, "/healthz")
	get(answers, "/livez")
	for path, want := range map[string][]string{
		"/metrics": {`kubeproxy_proxy_healthz_total{code="503"} 1`, `kubeproxy_proxy_livez_total{code="200"} 1`},
		"/metrics/slis": {`kubernetes_healthchecks_total{name="proxy",status="error",type="healthz"} 1`,
			`kubernetes_healthchecks_total{name="proxy",status="success",type="livez"} 1`},
		"/configz":      {"the Node is being deleted", `"profiling": "true"`},
		"/proxyMode":    {"nftables"},
		"/flagz":        {"portolan-agent flags", "profiling=true"},
		"/statusz":      {"Version: 1.2.3", "Node: node-a"},
		"/debug/pprof/": {"goroutine"},
	} {
		body := get(pages, path)
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s has no %s:\n%s", path, text, body)
			}
		}
	}
}
