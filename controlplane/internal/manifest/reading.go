package manifest

import (
	"crypto/sha256"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/settle"
)

// reading is one attempt to read a file.
type reading struct {
	sum      [sha256.Size]byte
	next     *contents
	patience time.Duration
}

// newReading weighs what was read; data is nil if the file is gone. It is unlikely
// if the file had objects that it lacks.
func newReading(data []byte, next *contents, unlikely bool) reading {
	r := reading{sum: sha256.Sum256(data), next: next}
	switch {
	case next != nil && next.broken:
		r.patience = settle.Broken
	case unlikely:
		r.patience = settle.Unlikely
	default:
		r.patience = settle.Whole(data)
	}
	return r
}
