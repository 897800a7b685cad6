package discovery

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

type rpc = grpc.BidiStreamingServer[discoveryv1.StreamDeltasRequest, discoveryv1.StreamDeltasResponse]

// listAfter is how long a stream that has not acknowledged anything may still turn
// out to be an observer before it is listed as a connecting node.
const listAfter = time.Second

// session is one stream. Its loop owns all fields, but for out while a transaction
// is being sent.
type session struct {
	server *Server
	stream rpc
	node   *discoveryv1.Node
	peer   string
	grant  nodeauth.Grant
	kinds  kinds
	// features are what the subscriber says that it understands.
	features []string

	// questions are asked when the subscriber is idle; asking is the one that it has not
	// answered, asks counts them.
	questions chan *question
	asking    *question
	asks      uint64
	requests  chan request
	// ctx is the stream's, until kick ends it with a cause.
	ctx  context.Context
	kick context.CancelCauseFunc

	// held is what the subscriber has once it has applied what was sent, digest
	// that view's digest, committed the nonce that acknowledges it.
	held      snapshot.View
	digest    uint64
	committed uint64
	// from is the revision of the view before the latest transaction, began when that was begun.
	from  uint64
	began time.Time
	out   pieces
	// bundle is kept until its transaction is acknowledged, for others to take it too.
	bundle *bundle
	// sending has the outcome while a transaction is being sent, else it is nil.
	sending chan error
	// awaiting is set from then until the Ack.
	awaiting bool
	alarm    *alarm
	// byChange is set if the transaction was caused by a change.
	byChange bool
	heavy    bool
	// admitted is set while the stream holds a slot for a full sync.
	admitted bool
	// aged is set once the stream is old enough to end, expired once its right has ended.
	aged, expired bool

	observer bool
	acked    bool
	record   *nodes.Connection
	trouble  string
}

// request is what was received.
type request struct {
	*discoveryv1.StreamDeltasRequest
	err error
}

func newSession(server *Server, stream rpc) *session {
	ctx, kick := context.WithCancelCause(stream.Context())
	return &session{server: server, stream: stream, requests: make(chan request), questions: make(chan *question), ctx: ctx, kick: kick}
}

// receive passes requests on until there are no more or the stream ends.
func (s *session) receive() {
	for {
		received, err := s.stream.Recv()
		// A message beyond the limits is refused by grpc.
		if status.Code(err) == codes.ResourceExhausted {
			s.server.counters.oversized.Add(1)
		}
		select {
		case s.requests <- request{received, err}:
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// subscribed notes who is at the other end.
func (s *session) subscribed(subscribe *discoveryv1.Subscribe, peer string) {
	s.node, s.peer = subscribe.GetNode(), peer
	s.kinds, s.features = kindsOf(subscribe.GetKinds()), subscribe.GetFeatures()
}

// errAged ends a stream that is old enough, without an error to the subscriber.
var errAged = errors.New("the stream has reached its age: the subscriber comes back, here or elsewhere")

// age returns after how long a stream ends.
func (s *Server) age() time.Duration {
	const spread = 0.1
	return time.Duration(float64(s.cfg.StreamAge) * (1 + spread*(2*s.cfg.Random()-1)))
}

// refused shows at its node that a stream was not served.
func (s *session) refused(err error) {
	if s.committed > 0 || s.observer || status.Code(err) == codes.Canceled {
		return
	}
	s.server.cfg.Nodes.Refused(nodes.Peer{
		Node: s.node.GetId(), Address: s.peer, AgentVersion: s.node.GetAgentVersion(), Instance: s.node.GetInstance(),
	}, reason(err))
}

// serve brings the subscriber up to date and keeps it there.
func (s *session) serve(resume *discoveryv1.Resume) error {
	cfg := &s.server.cfg
	tx, err := s.opening(resume)
	if err != nil {
		return err
	}
	now := cfg.Now()
	s.alarm = newAlarm(now)
	defer s.alarm.stop()
	s.alarm.list, s.alarm.age = now.Add(listAfter), earliest(now.Add(s.server.age()), s.grant.Until)
	s.out = pieces{limit: cfg.PieceBytes, send: func(f *frame) error {
		err := s.stream.SendMsg(f)
		s.alarm.progress(cfg.Now())
		return err
	}}
	for err := s.begin(tx); ; {
		if err != nil {
			return err
		}
		if s.aged && s.sending == nil && !s.awaiting && (!s.observer || s.expired) {
			return errAged
		}
		s.alarm.set(s.due())
		select {
		case sent := <-s.sending:
			err = s.sent(sent)
		case received := <-s.listen():
			err = s.handle(received)
		case <-s.changed():
			err = s.follow()
		case q := <-s.questioned():
			err = s.ask(q)
		case <-s.alarm.rings:
			err = s.rung(cfg.Now())
		case <-s.grant.Revoked:
			err = nodeauth.ErrRevoked
		case <-s.ctx.Done():
			err = ended(s.ctx)
		}
	}
}

// ended says why a session's context has ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if _, ok := status.FromError(cause); ok {
		return cause
	}
	return status.FromContextError(cause).Err()
}

// due returns when the session next has to look at the clock.
func (s *session) due() time.Time {
	cfg := &s.server.cfg
	due := earliest(s.alarm.list, s.alarm.age, s.alarm.rested)
	if s.sending != nil || s.awaiting {
		due = earliest(due, s.alarm.progressed().Add(cfg.AckTimeout))
	}
	if s.admitted {
		due = earliest(due, s.alarm.progressed().Add(cfg.SlotTimeout))
	}
	return due
}

// rung does what is due. It may be nothing: what the alarm was set for may have happened.
func (s *session) rung(now time.Time) error {
	cfg, stuck := &s.server.cfg, now.Sub(s.alarm.progressed())
	s.alarm.at = time.Time{}
	if passed(&s.alarm.list, now) {
		s.list(false)
	}
	if passed(&s.alarm.age, now) {
		s.aged, s.expired = true, !s.grant.Until.IsZero() && !now.Before(s.grant.Until)
		if s.observer && !s.expired {
			s.alarm.age = s.grant.Until // An observer's age does not matter, its right does.
		}
	}
	passed(&s.alarm.rested, now)
	if s.admitted && stuck >= cfg.SlotTimeout {
		s.dismiss()
	}
	if (s.sending != nil || s.awaiting) && stuck >= cfg.AckTimeout {
		return s.late()
	}
	return nil
}

// opening returns the first transaction. One that carries much is admitted first,
// and then made from the newest snapshot.
func (s *session) opening(resume *discoveryv1.Resume) (transaction, error) {
	tx, err := s.answer(resume)
	if err != nil || !tx.heavy {
		return tx, err
	}
	if err := s.server.admission.acquire(s.ctx); err != nil {
		s.server.counters.refused.Add(1)
		return transaction{}, err
	}
	s.admitted = true
	return s.answer(resume)
}

func (s *session) answer(resume *discoveryv1.Resume) (transaction, error) {
	now, seen := s.server.current()
	view := now.View(s.node.GetId())
	if len(resume.GetDigests()) == 0 {
		tx := s.server.everything(view, s.kinds)
		tx.seen = seen
		return tx, nil
	}
	tx, err := resumed(view, s.kinds, resume.GetDigests())
	if err != nil {
		return tx, status.Error(codes.InvalidArgument, err.Error())
	}
	tx.seen = seen
	if doubt := s.server.cfg.Doubt; doubt != nil && doubt(tx.held, tx.served) {
		s.server.counters.doubted.Add(1)
		return tx, status.Errorf(codes.Unavailable, "the node holds %d Services or more, and this control plane, since it has started, "+
			"only about %d: the node keeps them until that is confirmed", tx.held, tx.served)
	}
	return tx, nil
}

// listen returns the requests, or nil while sending: an Ack can overtake the
// news that its transaction was sent.
func (s *session) listen() <-chan request {
	if s.sending != nil {
		return nil
	}
	return s.requests
}

// changed returns what is closed when there is a newer snapshot, or nil while the
// subscriber is not to be told of it.
func (s *session) changed() <-chan struct{} {
	if s.sending != nil || s.awaiting || !s.alarm.rested.IsZero() {
		return nil
	}
	return s.held.Snapshot().Changed()
}

// follow sends what differs from the current snapshot, if anything does.
func (s *session) follow() error {
	now, seen := s.server.current()
	tx, empty, ok := s.server.difference(s.held, s.digest, now, s.kinds)
	if !ok {
		s.server.counters.overtaken.Add(1)
		return status.Error(codes.Aborted, "fell behind the change log: resume")
	}
	if tx.view.Zone() != s.held.Zone() {
		s.record.Moved(tx.view.Zone())
	}
	if empty {
		s.held = tx.view
		s.record.Unchanged(now.Revision)
		return nil
	}
	s.byChange, tx.seen = true, seen
	return s.begin(tx)
}

// begin sends a transaction. One piece after an Ack cannot block, as the window is
// empty then; anything else is sent by a goroutine of its own, so that the session
// can end it.
func (s *session) begin(tx transaction) error {
	if before := s.held.Snapshot(); before != nil {
		s.from = before.Revision
	}
	s.held, s.digest, s.heavy, s.bundle = tx.view, tx.digest, tx.heavy, tx.bundle
	s.out.resources, s.out.sent = 0, 0
	s.began = s.server.cfg.Now()
	s.alarm.progress(s.began)
	if pushed := s.server.cfg.Pushed; pushed != nil && s.byChange && !s.observer {
		pushed(s.pushed())
	}
	if tx.small && !s.observer {
		return s.sent(s.out.write(tx))
	}
	done := make(chan error, 1)
	s.sending = done
	go func() { done <- s.out.write(tx) }()
	return nil
}

// sent takes note that the transaction was written.
func (s *session) sent(err error) error {
	s.sending = nil
	s.dismiss()
	if err != nil {
		return err
	}
	s.count()
	s.committed = s.out.nonce
	s.record.Sent(s.held.Snapshot().Revision, s.out.resources, s.out.sent, s.heavy)
	if s.observer {
		s.rest()
		return nil
	}
	s.awaiting = true
	return nil
}

func (s *session) count() {
	c := &s.server.counters
	c.transactions.Add(1)
	c.pieces.Add(s.out.nonce - s.committed)
	c.resources.Add(uint64(s.out.resources))
	c.bytes.Add(uint64(s.out.sent))
	if s.heavy {
		c.fullSyncs.Add(1)
	}
}

// dismiss gives the slot for a full sync back.
func (s *session) dismiss() {
	if s.admitted {
		s.admitted = false
		s.server.admission.release()
	}
}

// rest starts an observer's pause.
func (s *session) rest() {
	s.awaiting, s.bundle = false, nil
	s.alarm.rested = s.server.cfg.Now().Add(s.server.cfg.ObserverInterval)
}

// late ends a stream whose subscriber does not receive or does not acknowledge.
func (s *session) late() error {
	s.server.counters.ackTimeouts.Add(1)
	timeout := s.server.cfg.AckTimeout
	if s.sending != nil {
		return status.Errorf(codes.DeadlineExceeded, "a piece of revision %d could not be sent within %s", s.held.Snapshot().Revision, timeout)
	}
	return status.Errorf(codes.DeadlineExceeded, "revision %d (nonce %d) was not acknowledged within %s",
		s.held.Snapshot().Revision, s.committed, timeout)
}

// close forgets the session.
func (s *session) close(err error) {
	s.dismiss()
	s.server.streams.leave(s)
	if s.observer {
		s.server.counters.observers.Add(-1)
	}
	s.record.Close(reason(err))
	s.refused(err)
	if log := s.server.cfg.Logger; log.IsDebug() {
		log.Debug("stream ended", "node", s.node.GetId(), "peer", s.peer, "reason", err)
	}
}

// reason says for people why a stream ended.
func reason(err error) string {
	// gRPC ends a stream's context when the connection ends.
	if errors.Is(err, errAged) {
		return err.Error()
	}
	if errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return "the subscriber's connection ended"
	}
	return status.Convert(err).Message()
}

// halfClosed makes the session an observer's.
func (s *session) halfClosed() {
	s.observer = true
	s.server.counters.observers.Add(1)
	s.server.streams.unclaim(s)
	s.record.Close("the subscriber ended its side of the stream")
	s.record = nil
	if s.awaiting {
		s.rest()
	}
}

// handle takes a request after the first.
func (s *session) handle(received request) error {
	if errors.Is(received.err, io.EOF) {
		s.halfClosed()
		return nil
	}
	if received.err != nil {
		return received.err
	}
	switch r := received.GetRequest().(type) {
	case *discoveryv1.StreamDeltasRequest_Ack:
		return s.ack(r.Ack)
	case *discoveryv1.StreamDeltasRequest_Comparison:
		return s.compared(r.Comparison)
	case *discoveryv1.StreamDeltasRequest_Subscribe:
		return status.Error(codes.InvalidArgument, "subscribe: expected ack: a stream has one subscription, with its first request")
	default:
		return status.Error(codes.InvalidArgument, "empty request: expected ack")
	}
}
