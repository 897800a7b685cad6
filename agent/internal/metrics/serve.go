package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// staleAfter is how long a change may wait for the kernel before the node says
// that it is unhealthy: twice kube-proxy's default sync period.
const staleAfter = time.Minute

// health is the answer of /healthz, in kube-proxy's form.
type health struct {
	LastUpdated  time.Time `json:"lastUpdated"`
	CurrentTime  time.Time `json:"currentTime"`
	Healthy      bool      `json:"healthy"`
	NodeEligible *bool     `json:"nodeEligible,omitempty"`
}

// Health returns whether the kernel is up to date, or has not been behind for too
// long, and since when it is what it is.
func (m *Metrics) Health() (healthy bool, lastUpdated time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.queuedAt.IsZero() {
		return true, now
	}
	return now.Sub(m.queuedAt) < staleAfter, m.appliedAt
}

func (m *Metrics) eligible() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ineligible == ""
}

func (m *Metrics) serveHealth(withNode bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		healthy, updated := m.Health()
		answer := health{LastUpdated: updated, CurrentTime: m.now(), Healthy: healthy}
		ok := healthy
		if withNode {
			eligible := m.eligible()
			answer.NodeEligible = &eligible
			ok = healthy && eligible
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// HealthHandler serves /healthz, which also fails while load balancers should not
// send to this node (KEP-3836), and /livez, which does not.
func (m *Metrics) HealthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", m.serveHealth(true))
	mux.HandleFunc("GET /livez", m.serveHealth(false))
	return mux
}

// MetricsHandler serves /metrics, /proxyMode and a /healthz that says ok.
func (m *Metrics) MetricsHandler(mode string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}))
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(body))
		}
	}
	mux.HandleFunc("GET /proxyMode", text(mode))
	mux.HandleFunc("GET /healthz", text("ok"))
	return mux
}

// Serve serves a handler on an address until the context ends. An empty address
// serves nothing.
func Serve(ctx context.Context, address string, handler http.Handler) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}
