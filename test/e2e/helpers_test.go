package e2e_test

import (
	"testing"
	"time"
)

// check ends the test if there is an error.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// need returns a function that returns the value, or ends the test if there is an
// error.
func need[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return value
	}
}

// eventually waits until f returns no error.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	within(t, soon, f)
}

// within is eventually with a bound.
func within(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	for begun := time.Now(); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Since(begun) > limit {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
