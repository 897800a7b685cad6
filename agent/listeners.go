package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/portolan-net/portolan/agent/internal/health"
	"github.com/portolan-net/portolan/agent/internal/listen"
	"github.com/portolan-net/portolan/agent/internal/metrics"
	"github.com/portolan-net/portolan/agent/internal/unused"
	"github.com/portolan-net/portolan/agent/internal/zpages"
)

// component is the program's name on its pages.
const component = "portolan-agent"

// The flags that set the listen addresses, for errors about these.
const (
	HealthFlag  = "healthz-bind-address"
	MetricsFlag = "metrics-bind-address"
)

// listeners returns what serves health and metrics.
func listeners(config Config, observed *metrics.Metrics, unusedEndpoint http.Handler) []func(context.Context) error {
	serve := func(name, flag, address string, handler http.Handler) func(context.Context) error {
		return func(ctx context.Context) error {
			return listen.Serve(ctx, listen.Config{Address: address, Flag: flag, HardFail: config.BindHardFail,
				Handler: handler, Logger: config.Logger.Named(name)})
		}
	}
	answers, pages := handlers(config, observed)
	health := http.NewServeMux()
	health.Handle("/", answers)
	health.Handle("GET "+unused.Path, unusedEndpoint)
	return []func(context.Context) error{
		serve("health", HealthFlag, config.HealthAddress, health),
		serve("metrics", MetricsFlag, config.MetricsAddress, pages),
	}
}

// handlers answers health checks, and serves the pages, which tell of the answers.
func handlers(config Config, observed *metrics.Metrics) (answers, pages http.Handler) {
	slis := zpages.NewSLIs()
	answers = observed.Health.Handler(func(probe health.Probe, code int) {
		observed.Probed(probe, code)
		slis.Observe("proxy", string(probe), code == http.StatusOK)
	})
	return answers, zpages.Handler(zpages.Config{
		Component: component, Version: config.Version, Node: config.Node,
		Metrics: observed.Registry, SLIs: slis, NodeConfig: observed.NodeConfig,
		Flags: config.Flags, Profiling: config.Profiling, Started: time.Now(), Now: time.Now,
	})
}
