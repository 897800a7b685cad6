package reconcile

import (
	"context"
	"sync"
	"time"
)

// maxSpacing bounds how long a transaction waits, whatever the configuration says: the
// control plane would take an agent that does not answer for a dead one.
const maxSpacing = 15 * time.Second

// spacing keeps transactions apart. It is safe for concurrent use.
type spacing struct {
	mu sync.Mutex
	// next is when the next transaction may be applied.
	next time.Time
}

// done notes the end of a transaction, and how long the next one has to wait.
func (s *spacing) done(now time.Time, period time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = now.Add(min(period, maxSpacing))
}

// wait returns when the next transaction may be applied, or the context's error.
func (s *spacing) wait(ctx context.Context, now func() time.Time) error {
	s.mu.Lock()
	rest := s.next.Sub(now())
	s.mu.Unlock()
	if rest <= 0 {
		return nil
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
