// Package configfile follows a configuration file, so that a change needs no restart
// and a mistake does no harm: content that cannot be used is refused, and what was
// in force before stays.
//
// The file is watched through its directory, because editors replace files, and
// ConfigMaps the link that all their files are reached by.
package configfile

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/controlplane/internal/settle"
)

// rescanEvery is how often the file is read without a notification, for file systems
// that do not notify, and for links to files elsewhere.
const rescanEvery = 10 * time.Second

// Config says what to follow.
type Config struct {
	Path string
	// Held is the content that is in force already.
	Held []byte
	// Prepare checks content, and returns what puts it into force.
	Prepare func(content []byte) (apply func(), err error)
	// Refused is told why the present content is not in force, and nil when content
	// is again.
	Refused func(why error)
	Logger  hclog.Logger
}

// File is a file that is followed. It belongs to one goroutine.
type File struct {
	Config
	// decided is the content that was accepted or refused last.
	decided [sha256.Size]byte
	refused bool
	// unsettled, if not nil, follows content that does not count yet.
	unsettled *settle.File
}

// New returns a file to follow.
func New(config Config) *File { return &File{Config: config, decided: sha256.Sum256(config.Held)} }

// Run follows the file until the context ends. Where it cannot be notified it looks
// every so often.
func (f *File) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		f.Logger.Warn("cannot watch the configuration file, looking every so often instead", "path", f.Path, "every", rescanEvery, "error", err)
		watcher = &fsnotify.Watcher{}
	} else {
		defer watcher.Close()
		f.watch(watcher)
	}
	rescan := time.NewTicker(rescanEvery)
	defer rescan.Stop()
	// Read at once: it may have changed since it was read before it was watched.
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
		case lost := <-watcher.Errors: // Perhaps events: the look below finds out.
			f.Logger.Debug("watching the configuration file", "error", lost)
		case <-rescan.C:
			if err == nil {
				f.watch(watcher)
			}
		case <-again.C:
		}
		f.look(time.Now())
		if f.unsettled != nil {
			again.Reset(max(0, time.Until(f.unsettled.Due())))
		}
	}
}

// watch watches the directory. Doing it again does nothing, unless it was replaced.
func (f *File) watch(watcher *fsnotify.Watcher) {
	if err := watcher.Add(filepath.Dir(f.Path)); err != nil && f.Logger.IsDebug() {
		f.Logger.Debug("cannot watch a directory, looking every so often instead", "path", filepath.Dir(f.Path), "every", rescanEvery, "error", err)
	}
}

// look reads the file and decides about content that is new and settled.
func (f *File) look(now time.Time) {
	data, _, err := settle.Read(f.Path)
	sum, patience := sha256.Sum256(data), settle.Whole(data)
	if len(data) == 0 {
		patience = settle.Unlikely // Truncated to be written, or gone.
	}
	if err != nil {
		sum, err = sha256.Sum256([]byte(err.Error())), fmt.Errorf("expected a file: %w", err)
	}
	if sum == f.decided {
		f.unsettled = nil
		return
	}
	var apply func()
	if err == nil {
		if apply, err = f.Prepare(data); err != nil {
			patience = settle.Broken
		}
	}
	if f.unsettled == nil {
		f.unsettled = &settle.File{}
	}
	if !f.unsettled.Settle(sum, patience, now) {
		return
	}
	f.unsettled, f.decided = nil, sum
	f.decide(apply, err)
}

func (f *File) decide(apply func(), err error) {
	if err != nil {
		f.refused = true
		f.Refused(err)
		return
	}
	apply()
	if f.refused {
		f.refused = false
		f.Refused(nil)
	}
}
