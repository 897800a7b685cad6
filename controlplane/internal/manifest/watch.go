package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// rescanEvery is how often the files' times and sizes are looked at, for file
// systems that do not notify, and for links to files elsewhere.
const rescanEvery = 10 * time.Second

// Watch loads the manifests and follows their changes until ctx ends, which is not
// an error.
func (s *Source) Watch(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("manifests: watching %s: %w", s.path, err)
	}
	defer watcher.Close()
	if err := s.locate(); err != nil {
		return err
	}
	// Watched before it is read, so that no change falls in between.
	s.watchTree(watcher, s.tree)
	if err := s.Load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.follow(ctx, watcher)
	return nil
}

func (s *Source) follow(ctx context.Context, watcher *fsnotify.Watcher) {
	rescan := time.NewTicker(rescanEvery)
	defer rescan.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-watcher.Events:
			s.event(watcher, event)
		case err := <-watcher.Errors:
			// The kernel's queue overflowed: nothing is known but that much changed.
			s.log.Warn("lost track of manifests, reading all again", "path", s.path, "error", err)
			s.rescan(watcher)
		case <-rescan.C:
			s.rescan(watcher)
		case <-retry.C:
		}
		s.drain(watcher)
		s.readPending(time.Now())
		s.write(false)
		if len(s.pending) > 0 {
			retry.Reset(max(0, time.Until(s.nextDue())))
		}
	}
}

// drain takes the events that are already there, so that a file that is written in
// pieces, or a thousand files, are one update.
func (s *Source) drain(watcher *fsnotify.Watcher) {
	for range 1000 {
		select {
		case event := <-watcher.Events:
			s.event(watcher, event)
		default:
			return
		}
	}
}

func (s *Source) event(watcher *fsnotify.Watcher, event fsnotify.Event) {
	if event.Op == fsnotify.Chmod {
		return
	}
	path := filepath.Clean(event.Name)
	base := filepath.Base(path)
	if base == "..data" {
		// A ConfigMap's files are links through this one; they changed all at once.
		s.rescanDir(filepath.Dir(path))
		return
	}
	if isHidden(base) || s.only != "" && base != s.only {
		return
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		s.forget(path, func(string) bool { return true })
	case info.IsDir() && s.only == "":
		s.watchTree(watcher, path)
		s.rescanDir(path)
	case !info.IsDir() && s.wanted(path):
		s.dirty(path)
	}
}

// watchTree watches a directory and all below it.
func (s *Source) watchTree(watcher *fsnotify.Watcher, dir string) {
	err := s.walk(dir, func(path string) {
		if err := watcher.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("cannot watch a directory of manifests, looking every so often instead", "path", path, "every", rescanEvery, "error", err)
		}
	}, func(string) {})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("cannot list a directory of manifests", "path", dir, "error", err)
	}
}

func (s *Source) rescanDir(dir string) {
	if err := s.scan(dir); err != nil {
		s.log.Warn("cannot list a directory of manifests", "path", dir, "error", err)
	}
}

// rescan looks at everything, and watches again what was not there before.
func (s *Source) rescan(watcher *fsnotify.Watcher) {
	if exists := s.rootExists(); exists == s.gone {
		s.gone = !exists
		s.out.problems[s.path] = s.rootProblems()
	}
	if s.gone {
		return
	}
	s.watchTree(watcher, s.tree)
	s.rescanDir(s.tree)
}

func (s *Source) rootProblems() []model.Problem {
	if !s.gone {
		return nil
	}
	return []model.Problem{{
		Object: "file " + s.path, Message: "expected a directory or file, but it is gone as a whole; the last state stays in force",
	}}
}
