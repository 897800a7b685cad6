// Package traffic is pods that say who they are, and clients that count who answered.
//
// A pod greets each connection with a line, "<its name> <the client's address as it
// sees it>", and then sends back whatever it receives.
package traffic

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// Server is a pod's process.
type Server struct {
	name     string
	listener net.Listener

	mu          sync.Mutex
	connections map[net.Conn]struct{}
	closed      bool
}

// Serve serves until Close.
func Serve(name string, listener net.Listener) *Server {
	s := &Server{name: name, listener: listener, connections: map[net.Conn]struct{}{}}
	go s.accept()
	return s
}

func (s *Server) accept() {
	for {
		connection, err := s.listener.Accept()
		if err != nil {
			return
		}
		if s.track(connection) {
			go s.serve(connection)
		}
	}
}

func (s *Server) track(connection net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = connection.Close()
		return false
	}
	s.connections[connection] = struct{}{}
	return true
}

func (s *Server) serve(connection net.Conn) {
	defer func() {
		_ = connection.Close()
		s.mu.Lock()
		delete(s.connections, connection)
		s.mu.Unlock()
	}()
	if _, err := fmt.Fprintf(connection, "%s %s\n", s.name, connection.RemoteAddr()); err != nil {
		return
	}
	_, _ = io.Copy(connection, connection)
}

// Close ends the process: nobody listens any more, and connections break.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for connection := range s.connections {
		_ = connection.Close()
	}
}
