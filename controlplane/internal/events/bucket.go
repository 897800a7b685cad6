package events

import "time"

// bucket is a token bucket.
type bucket struct {
	size   int
	refill time.Duration
	// tokens were there at a time; since then one has come with every refill.
	tokens int
	at     time.Time
}

func newBucket(size int, refill time.Duration, now time.Time) *bucket {
	return &bucket{size: size, refill: refill, tokens: size, at: now}
}

// fill adds the tokens that have come.
func (b *bucket) fill(now time.Time) {
	if came := now.Sub(b.at) / b.refill; came > 0 {
		b.tokens = min(b.size, b.tokens+int(min(came, time.Duration(b.size))))
		b.at = b.at.Add(came * b.refill)
	}
}

// take takes a token if there is one.
func (b *bucket) take(now time.Time) bool {
	b.fill(now)
	if b.tokens == 0 {
		return false
	}
	b.tokens--
	return true
}

// full tells whether no token is missing.
func (b *bucket) full(now time.Time) bool {
	b.fill(now)
	return b.tokens == b.size
}

// wait returns how long until there is a token.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	if b.tokens > 0 {
		return 0
	}
	return b.at.Add(b.refill).Sub(now)
}
