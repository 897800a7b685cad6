// Package listeners listens on a set of TCP addresses that changes, and tries again
// where somebody else listens.
package listeners

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// RetryPeriod is how often an address that could not be listened on is tried again.
const RetryPeriod = 5 * time.Second

// Set is the addresses that are listened on, each with what is to be known of it.
// It is safe for concurrent use.
type Set[T comparable] struct {
	// serve serves a listener until it is closed. What is known of the address may
	// change meanwhile.
	serve func(net.Listener, *atomic.Pointer[T])
	// failed is told of all that cannot be listened on, whenever that changes. It must
	// not call the set.
	failed func([]Failure[T])

	mu sync.Mutex
	// ended is set when Run has ended: there may still be updates.
	ended  bool
	wanted map[netip.AddrPort]T
	open   map[netip.AddrPort]*listener[T]
	errors map[netip.AddrPort]Failure[T]
}

// Failure is an address that cannot be listened on.
type Failure[T comparable] struct {
	Address netip.AddrPort
	Of      T
	// Error is the text of why.
	Error string
}

type listener[T comparable] struct {
	net.Listener
	known atomic.Pointer[T]
}

// New returns a set without addresses.
func New[T comparable](serve func(net.Listener, *atomic.Pointer[T]), failed func([]Failure[T])) *Set[T] {
	return &Set[T]{serve: serve, failed: failed, open: map[netip.AddrPort]*listener[T]{}, errors: map[netip.AddrPort]Failure[T]{}}
}

// Run tries again what failed until the context ends, then closes all.
func (s *Set[T]) Run(ctx context.Context) error {
	ticker := time.NewTicker(RetryPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.end()
			return nil
		case <-ticker.C:
			s.retry()
		}
	}
}

func (s *Set[T]) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errors) > 0 {
		s.converge()
	}
}

func (s *Set[T]) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.wanted = true, nil
	s.close()
}

// Update makes the given addresses all that are listened on. The map is the set's
// from then on.
func (s *Set[T]) Update(wanted map[netip.AddrPort]T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.wanted = wanted
	s.converge()
}

// converge listens where it should and nowhere else.
func (s *Set[T]) converge() {
	before := maps.Clone(s.errors)
	s.close()
	for address, known := range s.wanted {
		if l := s.open[address]; l != nil {
			l.known.Store(&known)
			continue
		}
		s.listen(address, known)
	}
	if maps.Equal(before, s.errors) {
		return
	}
	list := make([]Failure[T], 0, len(s.errors))
	for _, failure := range s.errors {
		list = append(list, failure)
	}
	s.failed(list)
}

// close ends what is not wanted.
func (s *Set[T]) close() {
	for address, l := range s.open {
		if _, ok := s.wanted[address]; !ok {
			_ = l.Close()
			delete(s.open, address)
		}
	}
	maps.DeleteFunc(s.errors, func(address netip.AddrPort, _ Failure[T]) bool {
		_, ok := s.wanted[address]
		return !ok
	})
}

func (s *Set[T]) listen(address netip.AddrPort, known T) {
	network := "tcp4"
	if address.Addr().Is6() {
		network = "tcp6"
	}
	socket, err := (&net.ListenConfig{}).Listen(context.Background(), network, address.String())
	if err != nil {
		s.errors[address] = Failure[T]{Address: address, Of: known, Error: err.Error()}
		return
	}
	delete(s.errors, address)
	l := &listener[T]{Listener: socket}
	l.known.Store(&known)
	s.open[address] = l
	go s.serve(socket, &l.known)
}
