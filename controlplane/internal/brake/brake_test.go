package brake

import (
	"fmt"
	"testing"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// names returns the keys of n Services from the given number on.
func names(from, n int) []model.Key {
	var keys []model.Key
	for i := range n {
		keys = append(keys, model.Key{Namespace: "demo", Name: fmt.Sprintf("s%04d", from+i)})
	}
	return keys
}

// gone says of n Services from the given number on that they are gone, and were there
// for a day.
func gone(from, n int) []Gone {
	var list []Gone
	for _, key := range names(from, n) {
		list = append(list, Gone{Key: key, Since: time.Unix(1_700_000_000, 0).Add(-24 * time.Hour)})
	}
	return list
}

func TestAMassDeletionIsMoreThanTheShareAndMoreThanTheNumber(t *testing.T) {
	for name, test := range map[string]struct {
		limits       Limits
		removals, of int
		want         bool
	}{
		"all of many":            {DefaultLimits(), 50, 50, true},
		"just more than half":    {DefaultLimits(), 51, 100, true},
		"just half":              {DefaultLimits(), 50, 100, false},
		"all of few":             {DefaultLimits(), 20, 20, false},
		"one more than few":      {DefaultLimits(), 21, 21, true},
		"many, but a small part": {DefaultLimits(), 4000, 10_000, false},
		"a small share":          {Limits{Share: 0.1, Min: 20}, 21, 200, true},
		"the whole":              {Limits{Share: 1, Min: 20}, 200, 200, false},
		"no share":               {Limits{Min: 20}, 200, 200, false},
		"no number":              {Limits{Share: 0.5}, 200, 200, false},
		"nothing":                {DefaultLimits(), 0, 0, false},
	} {
		if got := test.limits.Mass(test.removals, test.of); got != test.want {
			t.Errorf("%s: %d of %d: %v", name, test.removals, test.of, got)
		}
	}
}

func TestRemovalsOfOneWindowAreOneDeletion(t *testing.T) {
	type round struct {
		after         time.Duration
		removals      int
		wait          bool
		heldAfterward int
	}
	for name, rounds := range map[string][]round{
		"one round":                    {{0, 60, true, 60}},
		"many small rounds in seconds": {{0, 20, false, 0}, {time.Second, 20, false, 0}, {time.Second, 20, true, 20}, {time.Second, 20, true, 40}},
		"a drain":                      {{0, 20, false, 0}, {Window, 20, false, 0}, {Window, 20, false, 0}},
		"one by one":                   {{0, 1, false, 0}, {time.Second, 1, false, 0}, {time.Minute, 1, false, 0}},
		"once on, everything waits":    {{0, 60, true, 60}, {time.Hour, 1, true, 61}},
		"no removal":                   {{0, 0, false, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			b, now, served, next := New(DefaultLimits()), time.Unix(1_700_000_000, 0), 100, 0
			for i, r := range rounds {
				now = now.Add(r.after)
				if wait := b.Remove(now, gone(next, r.removals), served); wait != r.wait {
					t.Fatalf("round %d: waits %v", i, wait)
				}
				next += r.removals
				if !r.wait {
					served -= r.removals
				}
				if held := len(b.State().Held); held != r.heldAfterward {
					t.Errorf("round %d: %d held", i, held)
				}
			}
		})
	}
}

// TestServicesThatComeAndGoAreNoMassDeletion, though many go within a Window; those that
// were there before still count.
func TestServicesThatComeAndGoAreNoMassDeletion(t *testing.T) {
	b, now := New(DefaultLimits()), time.Unix(1_700_000_000, 0)
	for i := range 20 {
		came := gone(100*i, 15)
		for j := range came {
			came[j].Since = now
		}
		now = now.Add(2 * time.Second)
		if b.Remove(now, came, 30+15) {
			t.Fatalf("removals of short-lived Services wait in round %d", i)
		}
	}
	// Of the 45 that were there two seconds ago 15 have gone, with these 20 and then 25.
	if b.Remove(now, gone(9000, 5), 30) || !b.Remove(now.Add(time.Second), gone(9005, 5), 25) {
		t.Error("the brake is on too early, or not at all")
	}
	if of := b.State().Of; of != 45 {
		t.Errorf("of %d", of)
	}
}

func TestTheStateSaysWhatIsHeldSinceWhenAndOfHowMany(t *testing.T) {
	b, now := New(DefaultLimits()), time.Unix(1_700_000_000, 0)
	b.Remove(now, gone(0, 20), 100)
	b.Remove(now.Add(time.Second), gone(20, 40), 80)
	b.Remove(now.Add(time.Minute), gone(60, 1), 80)
	s := b.State()
	if len(s.Held) != 41 || s.Held[0] != names(20, 1)[0] || s.Of != 100 || !s.Since.Equal(now.Add(time.Second)) {
		t.Errorf("got %d from %v, of %d, since %v", len(s.Held), s.Held[0], s.Of, s.Since)
	}
}

func TestTheBrakeIsOffOnceNothingIsHeld(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, end := range map[string]func(*Brake){
		"back":   func(b *Brake) { each(names(0, 60), b.Back) },
		"let go": func(b *Brake) { b.LetGo(names(0, 60)) },
		"both":   func(b *Brake) { each(names(0, 30), b.Back); b.LetGo(names(30, 30)) },
	} {
		b := New(DefaultLimits())
		b.Remove(now, gone(0, 60), 100)
		end(b)
		if s := b.State(); len(s.Held) != 0 || s.Of != 0 || b.Holds(names(0, 1)[0]) {
			t.Errorf("%s: %+v", name, s)
		}
		if b.Remove(now, gone(60, 5), 40) {
			t.Errorf("%s: a small deletion waits afterwards", name)
		}
	}
}

func TestABrakeThatIsPartlyReleasedStaysOn(t *testing.T) {
	b, now := New(DefaultLimits()), time.Unix(1_700_000_000, 0)
	b.Remove(now, gone(0, 60), 100)
	if let := b.LetGo(names(0, 59)); len(let) != 59 {
		t.Errorf("%d let go", len(let))
	}
	if let := b.LetGo(names(0, 59)); len(let) != 0 {
		t.Errorf("%d let go twice", len(let))
	}
	if !b.Remove(now, gone(70, 1), 41) {
		t.Error("a removal goes while another waits")
	}
}

// each calls fn for every key.
func each(keys []model.Key, fn func(model.Key)) {
	for _, key := range keys {
		fn(key)
	}
}

func TestAListConfirmsWhatItLacks(t *testing.T) {
	for name, test := range map[string]struct {
		listed []model.Key
		want   string
	}{
		"others":       {names(100, 3), ""},
		"nothing":      {nil, "the source has no Service at all, which confirms nothing"},
		"some of them": {names(58, 10), "the source still lists 2 of 60"},
	} {
		got := ""
		if err := Confirms(test.listed, names(0, 60)); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAListIsCompleteIfTheSourceDeliveredAllOfIt(t *testing.T) {
	for name, test := range map[string]struct {
		listed, delivered []model.Key
		want              string
	}{
		"the same":   {names(0, 3), names(0, 3), ""},
		"fewer":      {names(0, 2), names(0, 3), ""},
		"more":       {names(0, 5), names(0, 3), "the source lists 2 Services that it did not deliver"},
		"nothing":    {nil, nil, errNone.Error()},
		"went since": {nil, names(0, 3), errNone.Error()},
	} {
		got := ""
		if err := Complete(test.listed, test.delivered); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestANodeThatWouldLoseMostIsDoubtedUntilTheStartIsTrusted(t *testing.T) {
	b := New(DefaultLimits())
	for _, step := range []struct {
		held, served int
		want         bool
	}{{50, 0, true}, {100, 49, true}, {100, 50, false}, {20, 0, false}, {40, 60, false}} {
		if got := b.Doubt(step.held, step.served); got != step.want {
			t.Errorf("holds %d, %d are served: %v", step.held, step.served, got)
		}
	}
	if s := b.State(); s.Doubted != 100 || !s.On() {
		t.Errorf("state %+v", s)
	}
	b.Trust()
	if b.Doubt(50, 0) || b.State().On() {
		t.Error("doubted again")
	}
	if New(Limits{}).Doubt(50, 0) {
		t.Error("doubted without a brake")
	}
}
