package reconcile

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// writer writes checkpoints apart from the loop, because a disk may take seconds.
// Of checkpoints that come while it writes only the newest is kept.
type writer struct {
	path     string
	observer Observer
	logger   hclog.Logger
	next     chan *state.Snapshot
	// failed is set while the last write failed, so that one failure that lasts is
	// logged once.
	failed bool
	// took is how long the last checkpoint took, in nanoseconds.
	took atomic.Int64
}

const (
	// share is how much of the time may be spent on writing checkpoints. They are the whole
	// state each time, and would else be most of what a change costs in a large cluster,
	// and several gigabytes a day.
	share = 0.0005
	// longestPause bounds how old the state on disk can get. An agent that ends in good
	// order leaves it as it is.
	longestPause = time.Minute
)

// pause returns how long to leave between two checkpoints.
func (w *writer) pause() time.Duration {
	return min(time.Duration(float64(w.took.Load())/share), longestPause)
}

func newWriter(path string, observer Observer, logger hclog.Logger) *writer {
	return &writer{path: path, observer: observer, logger: logger, next: make(chan *state.Snapshot, 1)}
}

// write replaces what waits. Only one goroutine may call it.
func (w *writer) write(content *state.Snapshot) {
	select {
	case <-w.next:
	default:
	}
	w.next <- content
}

func (w *writer) close() { close(w.next) }

func (w *writer) run() {
	if w.path != "" {
		if err := state.RemoveLeftovers(w.path); err != nil {
			w.logger.Warn("unfinished checkpoints stay on disk", "error", err)
		}
	}
	for content := range w.next {
		begun := time.Now()
		size, err := content.WriteFile(w.path)
		// What a change or a load needed, and then the checkpoint, goes back to the node.
		content = nil
		debug.FreeOSMemory()
		w.took.Store(int64(time.Since(begun)))
		w.observer.Checkpointed(size, err)
		if err != nil && !w.failed {
			w.logger.Error("the rules are in force, but after a reboot without control plane they would be missing", "error", err)
		}
		w.failed = err != nil
	}
}
