package discovery

import (
	"sync/atomic"
	"time"
)

// alarm is a session's only timer. A select pays for each of its channels, and more for
// those of timers, twice for each transaction; this one is touched when something is due
// earlier than before, and else rings too early now and then. All times are zero when off.
type alarm struct {
	rings chan struct{}
	timer *time.Timer
	// at is when the timer rings.
	at time.Time
	// base and moved are the time of the last progress in sending, which may be made by
	// a goroutine that only sends.
	base  time.Time
	moved atomic.Int64

	// list is when the stream is listed, age when it is old, rested when an observer's
	// pause ends.
	list, age, rested time.Time
}

func newAlarm(now time.Time) *alarm {
	return &alarm{rings: make(chan struct{}, 1), base: now}
}

// progress notes that something was sent.
func (a *alarm) progress(now time.Time) { a.moved.Store(int64(now.Sub(a.base))) }

// progressed returns when that was the last time.
func (a *alarm) progressed() time.Time { return a.base.Add(time.Duration(a.moved.Load())) }

// set makes the alarm ring not later than at a time that is not zero.
func (a *alarm) set(due time.Time) {
	if due.IsZero() || !a.at.IsZero() && !due.Before(a.at) {
		return
	}
	a.at = due
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(due), a.ring)
		return
	}
	a.timer.Reset(time.Until(due))
}

func (a *alarm) ring() {
	select {
	case a.rings <- struct{}{}:
	default:
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// passed tells whether a time has come, and then turns it off.
func passed(at *time.Time, now time.Time) bool {
	if at.IsZero() || now.Before(*at) {
		return false
	}
	*at = time.Time{}
	return true
}

// earliest returns the earliest of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}
