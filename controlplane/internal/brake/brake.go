package brake

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

const (
	// Window is how long removals count as part of one deletion.
	Window = 30 * time.Second
	// apart is how far the moments that are compared with are apart at least.
	apart = time.Second
)

// Limits says what is a mass deletion. Of the zero value nothing is.
type Limits struct {
	// Share is the part of the Services, from 0 to 1, and Min the number of them, that
	// a mass deletion exceeds. If one of them is zero there is no brake.
	Share float64
	Min   int
}

// DefaultLimits returns the limits that hold unless somebody sets others.
func DefaultLimits() Limits { return Limits{Share: 0.5, Min: 20} }

// On tells whether anything is a mass deletion.
func (l Limits) On() bool { return l.Share > 0 && l.Min > 0 }

// Mass tells whether so many removals of so many Services are a mass deletion.
func (l Limits) Mass(removals, of int) bool {
	return l.On() && removals > l.Min && float64(removals) > l.Share*float64(of)
}

// Brake knows which removals wait. It is not safe for concurrent use.
type Brake struct {
	limits Limits
	held   map[model.Key]struct{}
	since  time.Time
	of     int
	// doubted is the most Services that a node held which was not to lose them, trusted
	// is set once that is over.
	doubted int
	trusted bool
	// moments are those of the last Window before Services went, the oldest first.
	moments []moment
}

// moment is a time at which so many Services were served, of which so many are lost
// since.
type moment struct {
	at           time.Time
	served, lost int
}

// Gone is a Service that the source has no more, and since when it was served.
type Gone struct {
	Key   model.Key
	Since time.Time
}

// State is what a brake holds.
type State struct {
	// Held are the Services whose removal waits, ordered by name; none if it is off.
	Held []model.Key
	// Of is how many Services were served before the deletion began, and Since when
	// the brake came on.
	Of    int
	Since time.Time
	// Doubted is how many Services, at least, nodes hold that are not to lose them,
	// because far fewer were there since the start; zero if there are no such nodes.
	Doubted int
}

// On tells whether anything waits.
func (s State) On() bool { return len(s.Held) > 0 || s.Doubted > 0 }

// New returns a brake that is off.
func New(limits Limits) *Brake { return &Brake{limits: limits, held: map[model.Key]struct{}{}} }

// Holds tells whether the removal of a Service waits.
func (b *Brake) Holds(key model.Key) bool {
	_, held := b.held[key]
	return held
}

// State returns what is held.
func (b *Brake) State() State {
	s := State{Doubted: b.doubted}
	if len(b.held) == 0 {
		return s
	}
	s.Of, s.Since = b.of, b.since
	for key := range b.held {
		s.Held = append(s.Held, key)
	}
	slices.SortFunc(s.Held, model.Key.Compare)
	return s
}

// Remove decides on the removals of one round, of Services that are not held yet.
// Served is how many Services nodes have before the round, held ones among them.
// Either all of the removals wait, and Holds says so, or none does.
func (b *Brake) Remove(now time.Time, gone []Gone, served int) (wait bool) {
	if len(gone) == 0 {
		return false
	}
	if len(b.held) == 0 {
		of, mass := b.weigh(now, gone, served)
		if !mass {
			return false
		}
		b.since, b.of = now, of
	}
	for _, g := range gone {
		b.held[g.Key] = struct{}{}
	}
	return true
}

// weigh tells whether the removals make a mass deletion, and of how many Services. If
// they do not, they count from now on.
func (b *Brake) weigh(now time.Time, gone []Gone, served int) (of int, mass bool) {
	b.moments = slices.DeleteFunc(b.moments, func(m moment) bool { return now.Sub(m.at) >= Window })
	for _, m := range b.moments {
		if b.limits.Mass(m.lost+before(gone, m.at), m.served) {
			return m.served, true
		}
	}
	if b.limits.Mass(len(gone), served) {
		return served, true
	}
	if n := len(b.moments); n == 0 || now.Sub(b.moments[n-1].at) >= apart {
		b.moments = append(b.moments, moment{at: now, served: served})
	}
	for i := range b.moments {
		b.moments[i].lost += before(gone, b.moments[i].at)
	}
	return 0, false
}

// before counts the Services that were served before a moment.
func before(gone []Gone, at time.Time) int {
	count := 0
	for _, g := range gone {
		if g.Since.Before(at) {
			count++
		}
	}
	return count
}

// Back takes note that a Service is there again.
func (b *Brake) Back(key model.Key) { delete(b.held, key) }

// LetGo ends the wait of Services, and returns those of them that were held. What was
// meant does not count as part of a later deletion.
func (b *Brake) LetGo(keys []model.Key) []model.Key {
	var let []model.Key
	for _, key := range keys {
		if b.Holds(key) {
			let = append(let, key)
			delete(b.held, key)
		}
	}
	if len(let) > 0 {
		b.moments = nil
	}
	return let
}

// Doubt tells whether a node that holds so many Services, or more, must not be brought
// to what is served, because it would lose most of them.
func (b *Brake) Doubt(held, served int) bool {
	if b.trusted || !b.limits.Mass(held-served, held) {
		return false
	}
	b.doubted = max(b.doubted, held)
	return true
}

// Trust ends all doubt.
func (b *Brake) Trust() { b.trusted, b.doubted = true, 0 }

// Confirms returns nil if a full list of the source's Services says as well that the
// held ones are gone. A list without any Service says nothing: an API server always
// has one, and an empty directory may be a volume that is not there.
func Confirms(listed, held []model.Key) error {
	if len(listed) == 0 {
		return errNone
	}
	if count := common(listed, held); count > 0 {
		return fmt.Errorf("the source still lists %d of %d", count, len(held))
	}
	return nil
}

// Complete returns nil if a full list of the source's Services has none that the
// source did not deliver; again, an empty one says nothing.
func Complete(listed, delivered []model.Key) error {
	if len(listed) == 0 {
		return errNone
	}
	if missing := len(listed) - common(listed, delivered); missing > 0 {
		return fmt.Errorf("the source lists %d Services that it did not deliver", missing)
	}
	return nil
}

var errNone = errors.New("the source has no Service at all, which confirms nothing")

// common counts the keys that are in both lists.
func common(a, b []model.Key) int {
	in := make(map[model.Key]struct{}, len(a))
	for _, key := range a {
		in[key] = struct{}{}
	}
	count := 0
	for _, key := range b {
		if _, both := in[key]; both {
			count++
		}
	}
	return count
}
