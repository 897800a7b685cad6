// Package healthcheck answers load balancers that ask, on a Service's health-check
// node port, whether this node has endpoints of the Service (external policy
// Local, KEP-27). The answers are kube-proxy's: 200 with the number of ready
// endpoints here, else 503.
package healthcheck

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/api/resource"
)

// retryPeriod is how often an address that could not be listened on is tried
// again.
const retryPeriod = 5 * time.Second

// Server listens on health-check node ports. It is safe for concurrent use.
type Server struct {
	logger hclog.Logger
	// healthy tells whether the node's rules are up to date.
	healthy func() bool

	mu sync.Mutex
	// ended is set when Run has ended: the loop may still have something to say.
	ended     bool
	wanted    map[netip.AddrPort]ruleset.HealthCheck
	listening map[netip.AddrPort]*listener
	// failed has the addresses that cannot be listened on, and the error, which is
	// logged once.
	failed map[netip.AddrPort]string
}

// listener serves one address.
type listener struct {
	server *http.Server
	check  atomic.Pointer[ruleset.HealthCheck]
}

// New returns a server that listens nowhere yet.
func New(logger hclog.Logger, healthy func() bool) *Server {
	return &Server{
		logger: logger, healthy: healthy,
		listening: map[netip.AddrPort]*listener{}, failed: map[netip.AddrPort]string{},
	}
}

// Run tries addresses that failed again until the context ends, then closes all.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(retryPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.end()
			return nil
		case <-ticker.C:
			s.mu.Lock()
			if len(s.failed) > 0 {
				s.converge()
			}
			s.mu.Unlock()
		}
	}
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.wanted = true, nil
	s.converge()
}

// Update makes the given health checks all that there are. An address that cannot
// be listened on is tried again by Run.
func (s *Server) Update(checks []ruleset.HealthCheck) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.wanted = make(map[netip.AddrPort]ruleset.HealthCheck, len(checks))
	for _, check := range checks {
		s.wanted[check.Listen] = check
	}
	s.converge()
}

func (s *Server) converge() {
	for addr, l := range s.listening {
		if _, ok := s.wanted[addr]; !ok {
			_ = l.server.Close()
			delete(s.listening, addr)
		}
	}
	for addr := range s.failed {
		if _, ok := s.wanted[addr]; !ok {
			delete(s.failed, addr)
		}
	}
	for addr, check := range s.wanted {
		if s.listening[addr] == nil {
			s.listen(addr, check)
		}
		if l := s.listening[addr]; l != nil {
			l.check.Store(&check)
		}
	}
}

func (s *Server) listen(addr netip.AddrPort, check ruleset.HealthCheck) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	socket, err := (&net.ListenConfig{}).Listen(context.Background(), network, addr.String())
	if err != nil {
		if s.failed[addr] != err.Error() {
			s.logger.Warn("cannot listen on a health-check node port; trying again", "service", check.Service, "error", err)
		}
		s.failed[addr] = err.Error()
		return
	}
	delete(s.failed, addr)
	l := &listener{}
	l.check.Store(&check)
	l.server = &http.Server{Handler: s.answer(l), ReadHeaderTimeout: retryPeriod}
	s.listening[addr] = l
	go func() {
		if err := l.server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("a health-check node port stopped answering", "service", check.Service, "error", err)
		}
	}()
}

// status is the body of an answer, in kube-proxy's form.
type status struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

func (s *Server) answer(l *listener) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		check := l.check.Load()
		body := status{LocalEndpoints: check.Ready, ServiceProxyHealthy: s.healthy()}
		body.Service.Namespace, body.Service.Name = resource.SplitName(check.Service)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(check.Ready))
		if check.Ready == 0 || !body.ServiceProxyHealthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(body)
	}
}
