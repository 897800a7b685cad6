package manifest

import (
	"bytes"
	"crypto/sha256"
	"time"
)

// A file may be read while somebody writes it. What a reading lacks tells how long
// it must stay the same before it counts; a complete one counts at once.
const (
	// patienceBroken is for a file that does not decode.
	patienceBroken = 200 * time.Millisecond
	// patienceUnlikely is for a file that lacks objects which it had, or is gone:
	// truncated to be written anew, or renamed by an editor that saves a copy.
	patienceUnlikely = 20 * time.Millisecond
	// patienceTail is for YAML that does not end in a newline, which can be cut off
	// within a number and still decode.
	patienceTail = 2 * time.Millisecond
	// patienceEnd is for a file that never stays the same.
	patienceEnd = 2 * time.Second

	firstRetry = 2 * time.Millisecond
)

// reading is one attempt to read a file.
type reading struct {
	sum      [sha256.Size]byte
	next     *contents
	patience time.Duration
}

// newReading weighs what was read; data is nil if the file is gone.
func newReading(data []byte, next *contents, unlikely bool) reading {
	r := reading{sum: sha256.Sum256(data), next: next}
	trimmed := bytes.TrimSpace(data)
	switch {
	case next != nil && next.broken:
		r.patience = patienceBroken
	case unlikely:
		r.patience = patienceUnlikely
	case len(trimmed) > 0 && trimmed[0] != '{' && data[len(data)-1] != '\n':
		r.patience = patienceTail
	}
	return r
}

// settling follows a file from the first reading that did not count at once.
type settling struct {
	began time.Time
	// same is when the present content was first read.
	same  time.Time
	sum   [sha256.Size]byte
	retry time.Duration
	due   time.Time
}

// settle tells whether the reading counts now; if not, the file is to be read
// again when s.due has come.
func (s *settling) settle(r reading, now time.Time) bool {
	if s.began.IsZero() {
		s.began = now
	}
	if s.same.IsZero() || s.sum != r.sum {
		s.same, s.sum, s.retry = now, r.sum, firstRetry
	}
	rest := min(r.patience-now.Sub(s.same), patienceEnd-now.Sub(s.began))
	if r.patience == 0 || rest <= 0 {
		return true
	}
	s.due = now.Add(min(s.retry, rest))
	s.retry *= 2
	return false
}
