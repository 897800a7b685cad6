package subscribe

import (
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Status is how a subscription stands, for metrics and health.
type Status struct {
	// Connected is set from the first piece of a stream to the stream's end.
	Connected      bool
	Address        string
	ConnectedSince time.Time
	// LastTransaction is when the last transaction was committed; zero before.
	LastTransaction time.Time
	// Revision is that of the last transaction, as its replica counts.
	Revision uint64
	// Held counts what is held by kind.
	Held map[discoveryv1.Kind]int
	// Transactions counts the committed ones.
	Transactions uint64
	// DigestMismatches counts transactions after which the held content was not
	// what the server says it must be.
	DigestMismatches uint64
	// Reconnects counts streams after the first that came to receive something.
	Reconnects uint64
	// Skipped counts received resources of kinds that are not known here.
	Skipped uint64
	// LastError is why the last stream or attempt ended; empty while connected.
	LastError string
}

// Status returns how the subscription stands now. It is safe for concurrent use.
func (s *Subscriber) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// update changes the status. Held is replaced, never changed in place.
func (s *Subscriber) update(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}
