package traffic

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Patience is how long a client waits for a connection and its greeting. A lost
// packet is sent again after a second, which counts as slow but not as failed.
const Patience = 4 * time.Second

// Place is where clients are: what runs in Do opens its sockets there.
type Place interface {
	Do(func() error) error
}

// Visits makes connections one after the other and counts the answers.
func Visits(ctx context.Context, from Place, address string, count int) (*Tally, error) {
	tally := newTally()
	err := from.Do(func() error {
		for range count {
			if err := ctx.Err(); err != nil {
				return err
			}
			tally.add(Visit(ctx, address, Patience))
		}
		return nil
	})
	return tally, err
}

// Route is where a worker connects from and to.
type Route struct {
	// Name tells people which: "pod a1 → 10.96.0.10:80".
	Name    string
	From    Place
	Address string
}

// Flow is workers that make one new connection after the other.
type Flow struct {
	stop    chan struct{}
	workers sync.WaitGroup

	mu      sync.Mutex
	tallies []*Tally
	err     error
}

// Start starts one worker a route, each of which begins a connection every interval.
func Start(ctx context.Context, interval time.Duration, routes ...Route) *Flow {
	f := &Flow{stop: make(chan struct{})}
	for _, route := range routes {
		tally := newTally()
		f.tallies = append(f.tallies, tally)
		f.workers.Go(func() {
			if err := route.From.Do(func() error { f.work(ctx, interval, route, tally); return nil }); err != nil {
				f.mu.Lock()
				f.err = err
				f.mu.Unlock()
			}
		})
	}
	return f
}

func (f *Flow) work(ctx context.Context, interval time.Duration, route Route, tally *Tally) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		answer, err := Visit(ctx, route.Address, Patience)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", route.Name, err)
		}
		f.mu.Lock()
		tally.add(answer, err)
		f.mu.Unlock()
	}
}

// Sum returns what was counted so far, over all workers.
func (f *Flow) Sum() *Tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := newTally()
	for _, tally := range f.tallies {
		sum.merge(tally)
	}
	return sum
}

// Stop ends the workers and returns what they counted.
func (f *Flow) Stop() (*Tally, error) {
	close(f.stop)
	f.workers.Wait()
	return f.Sum(), f.err
}
