// Package localhost serves node ports on the node's loopback addresses, for those who
// ask for it: it listens there and passes connections on to the node port of an
// address that is none of loopback.
//
// The kernel could translate loopback addresses only with route_localnet, which lets
// neighbours on the network reach what listens on them (CVE-2020-8558). So this is
// for TCP alone, and the endpoint sees a connection of the node's.
package localhost

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/listeners"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// connectTimeout is how long an endpoint may take to accept a connection.
const connectTimeout = 10 * time.Second

// Server listens on loopback addresses. It is safe for concurrent use.
type Server struct {
	logger hclog.Logger
	set    *listeners.Set[ruleset.LocalhostPort]
}

// New returns a server that listens nowhere yet.
func New(logger hclog.Logger) *Server {
	s := &Server{logger: logger}
	s.set = listeners.New(s.serve, s.failed)
	return s
}

// Run works until the context ends, then closes all.
func (s *Server) Run(ctx context.Context) error { return s.set.Run(ctx) }

// Update makes the given ports all that there are.
func (s *Server) Update(ports []ruleset.LocalhostPort) {
	wanted := make(map[netip.AddrPort]ruleset.LocalhostPort, len(ports))
	for _, port := range ports {
		wanted[port.Listen] = port
	}
	s.set.Update(wanted)
}

func (s *Server) failed(failures []listeners.Failure[ruleset.LocalhostPort]) {
	for _, f := range failures {
		s.logger.Warn("cannot serve a node port on a loopback address; trying again", "service", f.Of.Service, "address", f.Address, "error", f.Error)
	}
}

func (s *Server) serve(listener net.Listener, port *atomic.Pointer[ruleset.LocalhostPort]) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // Too many open files, and the like.
			continue
		}
		go s.pass(client, *port.Load())
	}
}

// pass connects a client with the node port and copies both ways until both have
// said all.
func (s *Server) pass(client net.Conn, port ruleset.LocalhostPort) {
	defer func() { _ = client.Close() }()
	server, err := net.DialTimeout("tcp", port.To.String(), connectTimeout)
	if err != nil {
		if s.logger.IsDebug() {
			s.logger.Debug("a connection to a node port on a loopback address has nowhere to go", "service", port.Service, "error", err)
		}
		reset(client)
		return
	}
	defer func() { _ = server.Close() }()
	var copying sync.WaitGroup
	copying.Go(func() { forward(server, client) })
	copying.Go(func() { forward(client, server) })
	copying.Wait()
}

// reset has the client see a reset, as it would of a node port without endpoints.
func reset(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// forward copies to the end, and passes that on: half a connection may stay open. What
// cannot be copied ends both halves.
func forward(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close()
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}
