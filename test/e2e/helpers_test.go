package e2e_test

import (
	"testing"
	"time"
)

// check ends the test if there is an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// need returns a function that returns the value, or ends the test if there is an
// error.
func need[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return value
	}
}

// eventually waits until f returns no error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	for begun := time.Now(); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Since(begun) > soon {
			t.Fatalf("not within %v: %v", soon, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
