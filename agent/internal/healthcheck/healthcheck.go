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
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/portolan-net/portolan/agent/internal/listeners"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Server listens on health-check node ports. It is safe for concurrent use.
type Server struct {
	logger hclog.Logger
	// healthy tells whether the node's rules are up to date.
	healthy func() bool
	// warn is told of all that cannot be listened on, when that changes.
	warn func([]*discoveryv1.Warning)
	set  *listeners.Set[ruleset.HealthCheck]
	// warned is what warn was told last. It is the set's to use.
	warned []*discoveryv1.Warning
}

// New returns a server that listens nowhere yet. warn must not wait for the server.
func New(logger hclog.Logger, healthy func() bool, warn func([]*discoveryv1.Warning)) *Server {
	s := &Server{logger: logger, healthy: healthy, warn: warn}
	s.set = listeners.New(s.serve, s.failed)
	return s
}

// Run works until the context ends, then closes all.
func (s *Server) Run(ctx context.Context) error { return s.set.Run(ctx) }

// Update makes the given health checks all that there are. An address that cannot
// be listened on is tried again by Run.
func (s *Server) Update(checks []ruleset.HealthCheck) {
	wanted := make(map[netip.AddrPort]ruleset.HealthCheck, len(checks))
	for _, check := range checks {
		wanted[check.Listen] = check
	}
	s.set.Update(wanted)
}

// readTimeout is how long a load balancer may take to say what it wants.
const readTimeout = 5 * time.Second

func (s *Server) serve(listener net.Listener, check *atomic.Pointer[ruleset.HealthCheck]) {
	server := &http.Server{Handler: s.answer(check), ReadHeaderTimeout: readTimeout}
	if err := server.Serve(listener); !errors.Is(err, net.ErrClosed) {
		s.logger.Error("a health-check node port stopped answering", "service", check.Load().Service, "error", err)
	}
	_ = server.Close() // Those who are connected must not go on asking.
}

// reasonFailed is that of kube-proxy's Event.
const reasonFailed = "FailedToStartServiceHealthcheck"

// failed warns of failures, but not again because other endpoints are ready.
func (s *Server) failed(failures []listeners.Failure[ruleset.HealthCheck]) {
	warnings := make([]*discoveryv1.Warning, len(failures))
	for i, f := range failures {
		warnings[i] = &discoveryv1.Warning{
			Name:   &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_SERVICE, Name: f.Of.Service},
			Reason: reasonFailed, Message: fmt.Sprintf("cannot listen on health-check node port %d: %s", f.Address.Port(), f.Error),
		}
	}
	if slices.EqualFunc(warnings, s.warned, func(a, b *discoveryv1.Warning) bool { return proto.Equal(a, b) }) {
		return
	}
	s.warned = warnings
	for _, w := range warnings {
		s.logger.Warn("a load balancer cannot ask this node; trying again", "service", w.GetName().GetName(), "problem", w.GetMessage())
	}
	s.warn(warnings)
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

func (s *Server) answer(known *atomic.Pointer[ruleset.HealthCheck]) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		check := known.Load()
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
