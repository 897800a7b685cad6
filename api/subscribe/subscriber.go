package subscribe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

const (
	// settled is how long a stream must have lived to count as a success even if
	// the server ended it. Two agents with one node name, which take the stream
	// from each other, never get there.
	settled = time.Minute
	// failureLogInterval spaces the reports that no replica can be reached.
	failureLogInterval = time.Minute
)

// Subscriber keeps a subscription. Make one with New, then call Run once.
type Subscriber struct {
	cfg  Config
	held *held
	// skipLogged is set once a resource of an unknown kind has been reported.
	skipLogged bool

	mu      sync.Mutex
	status  Status
	current *stream
	streams uint64
}

// New checks the configuration; it does not connect.
func New(cfg Config) (*Subscriber, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("subscription: %w", err)
	}
	for _, address := range cfg.Addresses {
		conn, err := cfg.dial(address)
		if err != nil {
			return nil, fmt.Errorf("subscription: %w", err)
		}
		_ = conn.Close()
	}
	s := &Subscriber{cfg: cfg, held: newHeld(cfg.Kinds, cfg.Held, cfg.HeldSource)}
	s.cfg.Held = nil
	s.status.Held = s.held.counts()
	return s, nil
}

// Run subscribes, and subscribes again whenever the stream ends, until the
// context does. It returns the context's error.
func (s *Subscriber) Run(ctx context.Context) error {
	pause := &retry{base: s.cfg.BaseDelay, max: s.cfg.MaxDelay, rand: s.cfg.Rand}
	failing := failureLog{}
	var replicas []string
	for {
		if len(replicas) == 0 {
			replicas = s.shuffled()
		}
		out := s.stream(ctx, replicas[0])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.report(out, replicas[0], &failing)
		replicas = replicas[1:]
		if out.success() {
			pause.reset()
		}
		if err := sleep(ctx, pause.next(out.err)); err != nil {
			return err
		}
	}
}

// report logs the end of every stream that had come up, and now and then that
// none does.
func (s *Subscriber) report(out outcome, address string, failing *failureLog) {
	now := s.cfg.Now()
	if out.aged() {
		*failing = failureLog{}
		if s.cfg.Logger.IsDebug() {
			s.cfg.Logger.Debug("the control plane had the stream end; subscribing again", "address", address, "connected_for", out.lasted)
		}
		return
	}
	if out.connected {
		*failing = failureLog{}
		s.cfg.Logger.Warn("lost the control plane; what is applied stays in force",
			"address", address, "reason", reason(out.err), "connected_for", out.lasted.Round(time.Millisecond))
		return
	}
	if failing.due(now) {
		s.cfg.Logger.Warn("no control plane in reach; what is applied stays in force",
			"addresses", strings.Join(s.cfg.Addresses, ","), "tried", address, "error", reason(out.err),
			"failing_for", now.Sub(failing.since).Round(time.Second))
	}
}

// Acknowledge reports a new result for the latest transaction, after a retry of
// the data plane succeeded, or failed otherwise. It returns false if there is
// nothing to acknowledge now: no stream, no transaction yet on this stream, or
// another one being applied, whose own Result has the last word. The first
// transaction of a later stream then gives the opportunity.
func (s *Subscriber) Acknowledge(result Result) bool {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	return current != nil && current.acknowledge(result)
}

// shuffled returns the replicas in random order.
func (s *Subscriber) shuffled() []string {
	order := make([]string, len(s.cfg.Addresses))
	for i, j := range s.cfg.Rand.Perm(len(order)) {
		order[i] = s.cfg.Addresses[j]
	}
	return order
}

// outcome is how a stream went.
type outcome struct {
	err error
	// connected is set if at least one piece arrived.
	connected bool
	// correct is set if a transaction was committed and its digest matched.
	correct bool
	// restart is set if either side ended the stream in order to start again.
	restart bool
	lasted  time.Duration
}

// aged tells whether the stream did its work and then ended in good order.
func (o outcome) aged() bool { return o.correct && errors.Is(o.err, errAged) }

// success tells whether the next attempt may come soon.
func (o outcome) success() bool {
	return o.correct && (!o.restart || o.lasted >= settled)
}

// failureLog spaces reports while nothing can be reached.
type failureLog struct {
	since, last time.Time
}

func (f *failureLog) due(now time.Time) bool {
	if f.since.IsZero() {
		f.since = now
	}
	if !f.last.IsZero() && now.Sub(f.last) < failureLogInterval {
		return false
	}
	f.last = now
	return true
}

// reason is an error as an operator should read it.
func reason(err error) string {
	if st, ok := status.FromError(err); ok {
		return st.Code().String() + ": " + st.Message()
	}
	return err.Error()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
