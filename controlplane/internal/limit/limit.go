// Package limit bounds how often something may happen, for each of many names, in
// bounded memory. It is pure: time is passed in.
package limit

import (
	"container/list"
	"time"
)

// Rate is how often something may happen.
type Rate struct {
	// Burst is how often at once, and Every how long it takes until once more.
	Burst int
	Every time.Duration
}

// Buckets has a token bucket for each of the names that were used last. It is not
// safe for concurrent use.
type Buckets struct {
	rate Rate
	max  int
	// byName finds elements of used, which has the least recently used first.
	byName map[string]*list.Element
	used   *list.List
}

// bucket is one name's. It is full once full has come, and each use moves that on.
type bucket struct {
	name string
	full time.Time
	// next is when the last of those that were refused may come again.
	next time.Time
	// refusing is set from the first refusal until the bucket was full again.
	refusing bool
}

// New returns buckets of at most so many names. A name that is forgotten begins anew.
func New(rate Rate, names int) *Buckets {
	return &Buckets{rate: rate, max: names, byName: map[string]*list.Element{}, used: list.New()}
}

// Len returns how many names are remembered.
func (b *Buckets) Len() int { return b.used.Len() }

// Verdict is what becomes of one use.
type Verdict struct {
	// Refused is set if it is too early; Wait is how long to stay away then, such that
	// those that were refused together do not come again together.
	Refused bool
	Wait    time.Duration
	// First is set for the first refusal since the name has kept to its rate.
	First bool
}

// Use takes a token of a name, if there is one.
func (b *Buckets) Use(now time.Time, name string) Verdict {
	at := b.bucket(now, name)
	if !at.full.After(now) {
		at.full, at.next, at.refusing = now, now, false
	}
	if at.full.Add(b.rate.Every).Sub(now) <= time.Duration(b.rate.Burst)*b.rate.Every {
		at.full = at.full.Add(b.rate.Every)
		return Verdict{}
	}
	if at.next.Before(now) {
		at.next = now
	}
	at.next = at.next.Add(b.rate.Every)
	verdict := Verdict{Refused: true, Wait: at.next.Sub(now), First: !at.refusing}
	at.refusing = true
	return verdict
}

// bucket returns a name's bucket, a full one if it is new.
func (b *Buckets) bucket(now time.Time, name string) *bucket {
	if element := b.byName[name]; element != nil {
		b.used.MoveToBack(element)
		return element.Value.(*bucket)
	}
	if b.used.Len() >= b.max {
		oldest := b.used.Front()
		b.used.Remove(oldest)
		delete(b.byName, oldest.Value.(*bucket).name)
	}
	fresh := &bucket{name: name, full: now}
	b.byName[name] = b.used.PushBack(fresh)
	return fresh
}
