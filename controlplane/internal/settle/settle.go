// Package settle tells when a file that somebody may just be writing has been read
// as it is meant to be.
//
// What a reading lacks tells how long it must stay the same before it counts; a
// complete one counts at once.
package settle

import (
	"bytes"
	"crypto/sha256"
	"time"
)

// How long a reading must stay the same.
const (
	// Broken is for content that does not decode.
	Broken = 200 * time.Millisecond
	// Unlikely is for a file that lacks what it had, or is gone: truncated to be
	// written anew, or renamed by an editor that saves a copy.
	Unlikely = 20 * time.Millisecond
	// tail is for YAML that does not end in a newline, which can be cut off within a
	// number and still decode.
	tail = 2 * time.Millisecond
	// End is for a file that never stays the same.
	End = 2 * time.Second

	firstRetry = 2 * time.Millisecond
)

// Whole returns how long content that decodes must stay the same.
func Whole(data []byte) time.Duration {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) > 0 && trimmed[0] != '{' && data[len(data)-1] != '\n' {
		return tail
	}
	return 0
}

// File follows a file from the first reading that did not count at once. Its zero
// value is ready.
type File struct {
	began time.Time
	// same is when the present content was first read.
	same  time.Time
	sum   [sha256.Size]byte
	retry time.Duration
	due   time.Time
}

// Settle tells whether a reading with the hash counts now; if not, the file is to be
// read again when Due has come.
func (f *File) Settle(sum [sha256.Size]byte, patience time.Duration, now time.Time) bool {
	if f.began.IsZero() {
		f.began = now
	}
	if f.same.IsZero() || f.sum != sum {
		f.same, f.sum, f.retry = now, sum, firstRetry
	}
	rest := min(patience-now.Sub(f.same), End-now.Sub(f.began))
	if patience == 0 || rest <= 0 {
		return true
	}
	f.due = now.Add(min(f.retry, rest))
	f.retry *= 2
	return false
}

// Changed makes a reading due at once.
func (f *File) Changed() { f.due = time.Time{} }

// Due is when to read again.
func (f *File) Due() time.Time { return f.due }
