package discovery

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// featureCompare says that a subscriber answers Compare (discovery.proto, Subscribe).
const featureCompare = "compare"

// Compared is what a node says of its kernel, beside what it was sent.
type Compared struct {
	*discoveryv1.Comparison
	// SentRevision and SentDigest are those of the last transaction before it was asked.
	SentRevision, SentDigest uint64
}

// question is one Compare; the session answers it once, at most.
type question struct {
	id     uint64
	asked  Compared
	answer chan Compared
}

// Compare asks a node how its kernel differs from what it holds. Its errors have a gRPC
// status.
func (s *Server) Compare(ctx context.Context, node string) (Compared, error) {
	session := s.streams.of(node)
	switch {
	case session == nil:
		return Compared{}, status.Errorf(codes.FailedPrecondition, "node %q is not connected to this control plane", node)
	case !slices.Contains(session.features, featureCompare):
		return Compared{}, status.Errorf(codes.FailedPrecondition, "the agent of node %q, of version %s, cannot be asked", node, session.node.GetAgentVersion())
	}
	q := &question{answer: make(chan Compared, 1)}
	ended := status.Errorf(codes.Unavailable, "the stream of node %q has ended", node)
	select {
	case session.questions <- q:
	case <-session.ctx.Done():
		return Compared{}, ended
	case <-ctx.Done():
		return Compared{}, status.Errorf(codes.DeadlineExceeded, "node %q has not acknowledged what it was sent, or is comparing for somebody else", node)
	}
	select {
	case answer := <-q.answer:
		return answer, nil
	case <-session.ctx.Done():
		return Compared{}, ended
	case <-ctx.Done():
		return Compared{}, status.Errorf(codes.DeadlineExceeded, "node %q has not answered in time", node)
	}
}

// questioned returns the questions, or nil while the subscriber is not to be asked: a
// transaction is under way, or another question.
func (s *session) questioned() <-chan *question {
	if s.sending != nil || s.awaiting || s.asking != nil || s.observer {
		return nil
	}
	return s.questions
}

// ask sends a question. It cannot block, as nothing else is under way.
func (s *session) ask(q *question) error {
	s.asks++
	q.id, s.asking = s.asks, q
	q.asked = Compared{SentRevision: s.held.Snapshot().Revision, SentDigest: s.digest}
	return s.stream.SendMsg(&discoveryv1.StreamDeltasResponse{Compare: &discoveryv1.Compare{Id: q.id}})
}

// compared takes the answer to the question.
func (s *session) compared(c *discoveryv1.Comparison) error {
	q := s.asking
	if q == nil || c.GetId() != q.id {
		return status.Errorf(codes.InvalidArgument, "comparison.id %d: expected the answer to a question", c.GetId())
	}
	s.asking = nil
	q.asked.Comparison = c
	q.answer <- q.asked
	return nil
}

// of returns the stream of a node, or nil.
func (t *streams) of(node string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byNode[node]
}
