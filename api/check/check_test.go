package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestResultsAreInTheOrderOfTheChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks []Check
		for i := range 3 * parallel {
			checks = append(checks, Check{Definition{ID: strings.Repeat("i", i)}, func(context.Context) Finding {
				time.Sleep(time.Duration(100-i) * time.Millisecond)
				return Passed("%d", i)
			}})
		}
		begun := time.Now()
		for i, r := range Run(t.Context(), checks, time.Second, time.Now) {
			if len(r.ID) != i || r.Outcome != Pass || r.Seconds != float64(100-i)/1000 {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if took := time.Since(begun); took > 3*100*time.Millisecond {
			t.Errorf("took %v: expected many at a time", took)
		}
	})
}

func TestACheckThatDoesNotEndHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		stuck := Check{Definition{ID: "stuck"}, func(context.Context) Finding { <-hang; return Passed("") }}
		r := Run(t.Context(), []Check{stuck}, time.Second, time.Now)[0]
		if r.Outcome != Fail || r.Message != "no answer within 1s" || r.Seconds != 1 {
			t.Errorf("%+v", r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := Run(ctx, []Check{stuck}, time.Second, time.Now)[0]; r.Outcome != Skip {
			t.Errorf("%+v", r)
		}
	})
}

func TestWhenAChecksRuns(t *testing.T) {
	for when, want := range map[When][2]bool{Always: {true, true}, Before: {true, false}, After: {false, true}} {
		d := Definition{When: when}
		if got := [2]bool{d.Runs(true), d.Runs(false)}; got != want {
			t.Errorf("%d: before and after %v, want %v", when, got, want)
		}
	}
}

func TestChecksAreSelectedByIDAndGroup(t *testing.T) {
	known := []Definition{{ID: "a-1", Group: "a"}, {ID: "a-2", Group: "a"}, {ID: "b-1", Group: "b"}}
	var checks []Check
	for _, d := range known[:2] {
		checks = append(checks, Check{Definition: d})
	}
	for _, test := range []struct {
		only, skip []string
		want       string
	}{
		{nil, nil, "a-1 a-2"}, {[]string{"a"}, []string{"a-1"}, "a-2"}, {[]string{"a-2", "a-1"}, nil, "a-1 a-2"},
		{[]string{"b"}, nil, ""}, {nil, []string{"a"}, ""},
		{[]string{"c"}, nil, `--only "c": expected the ID of a check, or one of the groups a, b; see --list`},
		{nil, []string{"a-3"}, `--skip "a-3": expected the ID of a check, or one of the groups a, b; see --list`},
	} {
		list, err := Selection{test.only, test.skip}.Of(checks, known)
		var ids []string
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		got := strings.Join(ids, " ")
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("only %v skip %v: %s, want %s", test.only, test.skip, got, test.want)
		}
	}
}

func TestWhatManyAskForIsFoundOutOnce(t *testing.T) {
	asked := 0
	find := Once(t.Context(), time.Second, func(context.Context) ([]int, error) { asked++; return []int{1}, errors.New("e") })
	for range 3 {
		if got, err := find(); !slices.Equal(got, []int{1}) || err == nil {
			t.Error(got, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestCount(t *testing.T) {
	results := []Result{{Finding: Passed("")}, {Finding: Warned("")}, {Finding: Passed("")}}
	if Count(results, Pass) != 2 || Count(results, Fail) != 0 {
		t.Error(results)
	}
	if got := Failed("x").Do("y %d", 1); got.Advice != "y 1" {
		t.Error(got)
	}
}
