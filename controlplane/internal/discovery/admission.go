package discovery

import (
	"context"
	"sync/atomic"
	"time"
)

// admission lets a few full syncs run at a time, some more wait for a while, and
// sends the rest away.
type admission struct {
	slots      chan struct{}
	waiting    atomic.Int64
	maxWaiting int
	wait       time.Duration
	retryAfter time.Duration
}

func newAdmission(cfg Config) *admission {
	return &admission{
		slots: make(chan struct{}, cfg.FullSyncs), maxWaiting: cfg.FullSyncQueue,
		wait: cfg.FullSyncWait, retryAfter: cfg.RetryAfter,
	}
}

// acquire waits for a slot. The caller must release it.
func (a *admission) acquire(ctx context.Context) error {
	select {
	case a.slots <- struct{}{}:
		return nil
	default:
	}
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > int64(a.maxWaiting) {
		return a.refuse()
	}
	timer := time.NewTimer(a.wait)
	defer timer.Stop()
	select {
	case a.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return a.refuse()
	case <-ctx.Done():
		return ended(ctx)
	}
}

func (a *admission) release() { <-a.slots }

func (a *admission) refuse() error {
	return exhausted(a.retryAfter, "%d full syncs are running and %d wait", len(a.slots), a.waiting.Load())
}
