package limit

import (
	"fmt"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

func TestABurstIsAllowedAndThenTheRate(t *testing.T) {
	b, now := New(Rate{Burst: 3, Every: time.Second}, 10), start
	for i, step := range []struct {
		after   time.Duration
		refused bool
	}{
		{0, false}, {0, false}, {0, false}, {0, true}, {900 * time.Millisecond, true}, {100 * time.Millisecond, false}, {0, true},
		{2 * time.Second, false}, {0, false}, {0, true}, {time.Hour, false}, {0, false}, {0, false}, {0, true},
	} {
		now = now.Add(step.after)
		if got := b.Use(now, "n"); got.Refused != step.refused {
			t.Errorf("step %d: %+v", i, got)
		}
	}
}

func TestThoseThatAreRefusedTogetherAreToComeOneAfterTheOther(t *testing.T) {
	b := New(Rate{Burst: 1, Every: time.Second}, 10)
	b.Use(start, "n")
	for i := range 5 {
		if got, want := b.Use(start, "n"), time.Duration(i+1)*time.Second; got.Wait != want || got.First != (i == 0) {
			t.Errorf("refusal %d: %+v, want a wait of %s", i, got, want)
		}
	}
	for i := range 5 {
		if got := b.Use(start.Add(time.Duration(i+1)*time.Second), "n"); got.Refused {
			t.Errorf("refused although it came when it was told to: %+v", got)
		}
	}
}

func TestWhoHasKeptToItsRateIsNotToldToWaitForThoseBefore(t *testing.T) {
	b := New(Rate{Burst: 1, Every: time.Second}, 10)
	for range 1000 {
		b.Use(start, "n")
	}
	later := start.Add(time.Minute)
	b.Use(later, "n")
	if got := b.Use(later, "n"); got.Wait != time.Second || !got.First {
		t.Errorf("%+v", got)
	}
}

func TestNamesDoNotHarmEachOther(t *testing.T) {
	b := New(Rate{Burst: 1, Every: time.Second}, 10)
	for _, name := range []string{"a", "b"} {
		if b.Use(start, name).Refused || !b.Use(start, name).Refused {
			t.Errorf("%s has not a bucket of its own", name)
		}
	}
}

func TestTheNamesThatWereUsedLastAreRemembered(t *testing.T) {
	b := New(Rate{Burst: 1, Every: time.Hour}, 3)
	for i := range 1000 {
		b.Use(start, fmt.Sprint(i))
		b.Use(start, "always")
	}
	if b.Len() != 3 || !b.Use(start, "always").Refused || b.Use(start, "5").Refused {
		t.Errorf("%d names", b.Len())
	}
}
