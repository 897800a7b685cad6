package subscribe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// mismatchLinger is how long to wait, after a digest mismatch was acknowledged,
// for the server to end the stream, so that it gets to see the mismatch too.
const mismatchLinger = time.Second

var (
	errStalled  = errors.New("the control plane sent nothing in time")
	errMismatch = errors.New("digest mismatch: resuming")
)

// stream is one stream to one replica.
type stream struct {
	s       *Subscriber
	address string
	rpc     grpc.BidiStreamingClient[discoveryv1.StreamDeltasRequest, discoveryv1.StreamDeltasResponse]
	pieces  *assembler
	// cancel ends the stream with a cause of our own. watchdog does so when a piece
	// is overdue.
	cancel   context.CancelCauseFunc
	watchdog *time.Timer

	connected time.Time
	correct   bool

	// mu serializes sends and guards latest.
	mu sync.Mutex
	// latest is the transaction that may be acknowledged again; nil while there is
	// none or the next is being applied.
	latest *acknowledgeable
}

// acknowledgeable is what an Ack says of a transaction besides its result.
type acknowledgeable struct {
	nonce, digest uint64
}

// stream subscribes at one replica and follows until something fails.
func (s *Subscriber) stream(ctx context.Context, address string) outcome {
	st := &stream{s: s, address: address, pieces: newAssembler(s.cfg.Kinds, s.cfg.MaxTransactionBytes)}
	err := st.run(ctx)
	out := outcome{err: err, connected: !st.connected.IsZero(), correct: st.correct}
	out.restart = status.Code(err) == codes.Aborted || errors.Is(err, errMismatch) || errors.Is(err, errAged)
	if out.connected {
		out.lasted = s.cfg.Now().Sub(st.connected)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
	s.status.Connected, s.status.Address = false, ""
	s.status.LastError = reason(err)
	return out
}

func (st *stream) run(ctx context.Context) error {
	conn, err := st.s.cfg.dial(st.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	streamCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	st.cancel = cancel
	st.watchdog = time.AfterFunc(st.s.cfg.StallTimeout, func() { cancel(errStalled) })
	defer st.watchdog.Stop()

	if st.rpc, err = discoveryv1.NewDiscoveryServiceClient(conn).StreamDeltas(streamCtx); err == nil {
		err = st.follow(ctx)
	}
	if cause := context.Cause(streamCtx); cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

// follow subscribes and takes pieces until the stream ends.
func (st *stream) follow(ctx context.Context) error {
	if err := st.subscribe(); err != nil {
		return err
	}
	for {
		piece, err := st.rpc.Recv()
		if err != nil {
			return ended(err)
		}
		if question := piece.GetCompare(); question != nil {
			st.compare(ctx, question)
			continue
		}
		st.noteConnected(piece)
		whole, err := st.pieces.add(piece)
		if err != nil {
			return err
		}
		if whole == nil {
			st.watchdog.Reset(st.s.cfg.StallTimeout)
			continue
		}
		st.watchdog.Stop()
		if err := st.commit(ctx, whole); err != nil {
			return err
		}
	}
}

// errAged is the end of a stream that is no failure: its server has one end every so
// often, so that subscribers spread over the replicas anew.
var errAged = errors.New("the control plane ended the stream because of its age")

// drained is how grpc puts it that a connection was closed after the server had
// announced that, and not because of an error (HTTP/2's NO_ERROR).
const drained = "received prior goaway: code: NO_ERROR"

// ended makes the orderly end of a stream errAged.
func ended(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable && strings.Contains(status.Convert(err).Message(), drained) {
		return errAged
	}
	return err
}

func (st *stream) subscribe() error {
	request := &discoveryv1.Subscribe{Node: st.s.cfg.Node, Kinds: st.s.cfg.Kinds, Resume: st.s.held.resume()}
	if st.s.cfg.Compare != nil && !st.s.cfg.Observe {
		request.Features = []string{featureCompare}
	}
	err := st.rpc.Send(&discoveryv1.StreamDeltasRequest{
		Request: &discoveryv1.StreamDeltasRequest_Subscribe{Subscribe: request}})
	if err == nil && st.s.cfg.Observe {
		err = st.rpc.CloseSend()
	}
	if errors.Is(err, io.EOF) {
		return nil // Recv has the reason.
	}
	return err
}

// compare answers a Compare. The transactions that come meanwhile wait, as they would for
// each other.
func (st *stream) compare(ctx context.Context, question *discoveryv1.Compare) {
	s := st.s
	if s.cfg.Compare == nil {
		return // Nobody asks who did not say that it answers.
	}
	answer := s.cfg.Compare(ctx)
	answer.Id, answer.Digest = question.GetId(), s.held.sum()
	s.update(func(status *Status) { answer.Revision = status.Revision })
	st.mu.Lock()
	defer st.mu.Unlock()
	// Why a send failed is seen where the stream is received.
	_ = st.rpc.Send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Comparison{Comparison: answer}})
}

// noteConnected marks the stream as up when its first piece arrives.
func (st *stream) noteConnected(first *discoveryv1.StreamDeltasResponse) {
	if !st.connected.IsZero() {
		return
	}
	s := st.s
	st.connected = s.cfg.Now()
	s.mu.Lock()
	s.current = st
	s.status.Connected, s.status.Address, s.status.ConnectedSince = true, st.address, st.connected
	s.status.LastError = ""
	if s.streams++; s.streams > 1 {
		s.status.Reconnects++
	}
	s.mu.Unlock()
	s.cfg.Logger.Info("subscribed to the control plane", "address", st.address, "revision", first.GetRevision())
}

// commit moves on to a whole transaction, has it applied and acknowledges it.
func (st *stream) commit(ctx context.Context, whole *assembled) error {
	s := st.s
	tx := s.held.commit(whole)
	at := acknowledgeable{nonce: tx.Nonce, digest: s.held.sum()}
	match := at.digest == whole.commit.GetDigest()
	st.noteCommitted(tx, match)
	st.setLatest(nil)
	started := s.cfg.Now()
	result := s.cfg.Handler.Apply(ctx, tx)
	if err := ctx.Err(); err != nil {
		return err // What was cut short is no verdict on the transaction.
	}
	if result.ApplyDuration == 0 {
		result.ApplyDuration = s.cfg.Now().Sub(started)
	}
	st.setLatest(&at)
	st.acknowledge(result)
	if match {
		return nil
	}
	s.cfg.Logger.Warn("held resources differ from the control plane's; repairing", "address", st.address,
		"revision", tx.Revision, "digest", fmt.Sprintf("%016x", at.digest),
		"expected", fmt.Sprintf("%016x", whole.commit.GetDigest()))
	return st.linger()
}

func (st *stream) noteCommitted(tx *Transaction, match bool) {
	s := st.s
	st.correct = st.correct || match
	skipped := st.pieces.takeSkipped()
	s.update(func(status *Status) {
		status.Revision, status.LastTransaction = tx.Revision, s.cfg.Now()
		status.Held = s.held.counts()
		status.Transactions++
		status.Skipped += skipped
		if !match {
			status.DigestMismatches++
		}
	})
	if skipped > 0 && !s.skipLogged {
		s.skipLogged = true
		s.cfg.Logger.Warn("the control plane sends resources of kinds that were not asked for; skipping them", "address", st.address)
	}
}

// linger waits for the server to end the stream.
func (st *stream) linger() error {
	timer := time.AfterFunc(mismatchLinger, func() { st.cancel(errMismatch) })
	defer timer.Stop()
	for {
		if _, err := st.rpc.Recv(); err != nil {
			return errMismatch
		}
	}
}

func (st *stream) setLatest(at *acknowledgeable) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.latest = at
}

// acknowledge sends an Ack of the latest transaction, if there is one. Why a send
// failed is of no interest here: the stream's end is seen where it is received.
func (st *stream) acknowledge(result Result) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.latest == nil || st.s.cfg.Observe {
		return false
	}
	ack := &discoveryv1.Ack{
		ResponseNonce: st.latest.nonce,
		Digest:        st.latest.digest,
		Rejected:      result.Rejected,
		Warnings:      result.Warnings,
		ApplyDuration: durationpb.New(result.ApplyDuration),
		ErrorDetail:   detail(result.Err),
	}
	return st.rpc.Send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Ack{Ack: ack}}) == nil
}

// detail is an error's wire form. Errors without a gRPC status are the data
// plane's own: INTERNAL.
func detail(err error) *discoveryv1.ErrorDetail {
	if err == nil {
		return nil
	}
	code := codes.Internal
	if st, ok := status.FromError(err); ok {
		code = st.Code()
	}
	return &discoveryv1.ErrorDetail{Code: uint32(code), Message: err.Error()}
}
