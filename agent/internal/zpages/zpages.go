// Package zpages serves, beside the metrics, what people and programs ask of a
// running agent. The pages are kube-proxy's:
//
//	/metrics       for Prometheus
//	/metrics/slis  what health checks said (KEP-3466)
//	/proxyMode     the data plane's name
//	/healthz       ok: this process answers
//	/configz       the configuration in force, as JSON
//	/flagz         the flags, for people
//	/statusz       version, start and mode, for people (KEP-4827)
//	/debug/pprof   profiles, if they are switched on
package zpages

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/pprof"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Config says what the pages are of.
type Config struct {
	// Component is the program's name.
	Component string
	Version   string
	Node      string
	Metrics   prometheus.Gatherer
	SLIs      *SLIs
	// NodeConfig returns the configuration in force, or nil.
	NodeConfig func() *state.NodeConfig
	// Flags has the value of every flag.
	Flags     map[string]string
	Profiling bool
	Started   time.Time
	Now       func() time.Time
}

// mode is the name of the data plane, as kube-proxy reports it.
func (c Config) mode() string {
	if config := c.NodeConfig(); config != nil && config.Mode == discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		return "ipvs"
	}
	return "nftables"
}

// Handler serves the pages.
func Handler(config Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(config.Metrics, promhttp.HandlerOpts{}))
	mux.Handle("GET /metrics/slis", promhttp.HandlerFor(config.SLIs.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /proxyMode", page(config.mode))
	mux.HandleFunc("GET /healthz", page(func() string {
		config.SLIs.Observe(ping, healthz, true)
		return "ok"
	}))
	mux.HandleFunc("GET /configz", config.configz)
	mux.HandleFunc("GET /flagz", page(config.flagz))
	mux.HandleFunc("GET /statusz", page(config.statusz))
	if config.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// page serves text.
func page(text func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte(text()))
	}
}

// title begins a page for people.
func (c Config) title(of string) string {
	return c.Component + " " + of + "\nFor people: the format may change.\n\n"
}

func (c Config) flagz() string {
	var b strings.Builder
	b.WriteString(c.title("flags"))
	for _, name := range slices.Sorted(maps.Keys(c.Flags)) {
		fmt.Fprintf(&b, "%s=%s\n", name, c.Flags[name])
	}
	return b.String()
}

func (c Config) statusz() string {
	return c.title("status") + fmt.Sprintf("Started: %s\nUp: %s\nMode: %s\nNode: %s\nVersion: %s\nGo version: %s\n",
		c.Started.UTC().Format(time.RFC3339), c.Now().Sub(c.Started).Truncate(time.Second), c.mode(), c.Node, c.Version, runtime.Version())
}
