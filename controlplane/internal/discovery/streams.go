package discovery

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errShutdown = status.Error(codes.Unavailable, "the control plane is shutting down")

// streams knows the open streams and which of them is its node's.
type streams struct {
	mu     sync.Mutex
	open   map[*session]struct{}
	byNode map[string]*session
	closed bool
}

func newStreams() *streams {
	return &streams{open: map[*session]struct{}{}, byNode: map[string]*session{}}
}

// join adds a stream. It returns false after shutdown.
func (t *streams) join(s *session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.open[s] = struct{}{}
	return true
}

// claim makes the stream its node's and returns the one that was, or nil.
func (t *streams) claim(s *session) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.byNode[s.node.GetId()]
	t.byNode[s.node.GetId()] = s
	return old
}

// claimed tells whether the node has a stream.
func (t *streams) claimed(node string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byNode[node] != nil
}

// unclaim gives the node up, if it is the stream's.
func (t *streams) unclaim(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byNode[s.node.GetId()] == s {
		delete(t.byNode, s.node.GetId())
	}
}

func (t *streams) leave(s *session) {
	t.unclaim(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, s)
}

func (t *streams) shutdown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for s := range t.open {
		s.kick(errShutdown)
	}
}
