package reconcile

import (
	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// writer writes checkpoints apart from the loop, because a disk may take seconds.
// Of checkpoints that come while it writes only the newest is kept.
type writer struct {
	path     string
	observer Observer
	logger   hclog.Logger
	next     chan []byte
	// failed is set while the last write failed, so that one failure that lasts is
	// logged once.
	failed bool
}

func newWriter(path string, observer Observer, logger hclog.Logger) *writer {
	return &writer{path: path, observer: observer, logger: logger, next: make(chan []byte, 1)}
}

// write replaces what waits. Only one goroutine may call it.
func (w *writer) write(content []byte) {
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
		err := state.WriteFile(w.path, content)
		w.observer.Checkpointed(len(content), err)
		if err != nil && !w.failed {
			w.logger.Error("the rules are in force, but after a reboot without control plane they would be missing", "error", err)
		}
		w.failed = err != nil
	}
}
