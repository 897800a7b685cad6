// Package healthcheck answers load balancers that ask, on a Service's health-check
// node port, whether this node has endpoints of the Service (external policy
// Local, KEP-27). The answers are kube-proxy's: 200 with the number of ready
// endpoints here, else 503.
package healthcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
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
	// warn is told of all that cannot be listened on, when that changes.
	warn func([]*discoveryv1.Warning)

	mu sync.Mutex
	// ended is set when Run has ended: the loop may still have something to say.
	ended     bool
	wanted    map[netip.AddrPort]ruleset.HealthCheck
	listening map[netip.AddrPort]*listener
	// failed has the addresses that cannot be listened on, and what is to be said of
	// each, which is logged once.
	failed map[netip.AddrPort]*discoveryv1.Warning
}

// listener serves one address.
type listener struct {
	server *http.Server
	check  atomic.Pointer[ruleset.HealthCheck]
}

// New returns a server that listens nowhere yet. warn must not wait for the server.
func New(logger hclog.Logger, healthy func() bool, warn func([]*discoveryv1.Warning)) *Server {
	return &Server{
		logger: logger, healthy: healthy, warn: warn,
		listening: map[netip.AddrPort]*listener{}, failed: map[netip.AddrPort]*discoveryv1.Warning{},
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

// converge listens where it should and nowhere else, and warns if it cannot in
// another way than before.
func (s *Server) converge() {
	before := maps.Clone(s.failed)
	s.closeUnwanted()
	for addr, check := range s.wanted {
		if s.listening[addr] == nil {
			s.listen(addr, check)
		}
		if l := s.listening[addr]; l != nil {
			l.check.Store(&check)
		}
	}
	if !s.ended && !maps.Equal(before, s.failed) {
		s.warn(slices.Collect(maps.Values(s.failed)))
	}
}

func (s *Server) closeUnwanted() {
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
}

func (s *Server) listen(addr netip.AddrPort, check ruleset.HealthCheck) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	socket, err := (&net.ListenConfig{}).Listen(context.Background(), network, addr.String())
	if err != nil {
		s.fail(addr, check.Service, err)
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

// reasonFailed is that of kube-proxy's Event.
const reasonFailed = "FailedToStartServiceHealthcheck"

func (s *Server) fail(addr netip.AddrPort, service string, err error) {
	message := fmt.Sprintf("cannot listen on health-check node port %d: %v", addr.Port(), err)
	if before := s.failed[addr]; before.GetMessage() == message && before.GetName().GetName() == service {
		return
	}
	s.logger.Warn("cannot listen on a health-check node port; trying again", "service", service, "error", err)
	s.failed[addr] = &discoveryv1.Warning{
		Name:   &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_SERVICE, Name: service},
		Reason: reasonFailed, Message: message,
	}
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
