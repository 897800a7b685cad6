package check

import (
	"context"
	"errors"
	"sync"
	"time"
)

// parallel is how many checks look at a time.
const parallel = 16

// Run runs checks, several at a time, each for at most as long as the limit, and returns
// what they found in the order of the checks.
func Run(ctx context.Context, checks []Check, limit time.Duration, now func() time.Time) []Result {
	results := make([]Result, len(checks))
	turns := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			begun := now()
			finding := look(ctx, c, limit)
			results[i] = Result{Definition: c.Definition, Finding: finding, Documentation: c.Documentation(), Seconds: now().Sub(begun).Seconds()}
		})
	}
	wg.Wait()
	return results
}

// look returns by the limit, whatever the check does.
func look(ctx context.Context, c Check, limit time.Duration) Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := make(chan Finding, 1)
	go func() { found <- c.Look(ctx) }()
	select {
	case finding := <-found:
		return finding
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Failed("no answer within %s", limit).Do("Try again with a longer --timeout; if that does not help, find out what does not answer.")
	}
	return Skipped("interrupted")
}

// Count returns how many results have an outcome.
func Count(results []Result, outcome Outcome) (n int) {
	for _, r := range results {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

// Once returns a function that has the value found out once, by whoever asks first, for all
// who ask. It is given a little less than their limit, so that they can say what went wrong.
func Once[T any](ctx context.Context, limit time.Duration, find func(context.Context) (T, error)) func() (T, error) {
	return sync.OnceValues(func() (T, error) {
		ctx, cancel := context.WithTimeout(ctx, limit-limit/10)
		defer cancel()
		return find(ctx)
	})
}
