package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// name returns a file's name in problems: its path within the root.
func (s *Source) name(path string) string {
	name, err := filepath.Rel(s.tree, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(name)
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") && name != "." && name != ".." }

// wanted tells whether a file's name is that of a manifest to read.
func (s *Source) wanted(path string) bool {
	base := filepath.Base(path)
	if s.only != "" {
		return base == s.only && filepath.Dir(path) == s.tree
	}
	switch strings.ToLower(filepath.Ext(base)) {
	case ".yaml", ".yml", ".json":
		return !isHidden(base)
	default:
		return false
	}
}

// dirty asks for a file to be read at once, whatever it was waiting for.
func (s *Source) dirty(path string) {
	if waiting := s.pending[path]; waiting != nil {
		waiting.Changed()
		return
	}
	s.pending[path] = nil
}

// scan asks for every file below a directory to be read that has changed since it
// was last read, and for every file that was there and is not any more.
func (s *Source) scan(dir string) error {
	seen := map[string]struct{}{}
	err := s.walk(dir, nil, func(path string) {
		seen[path] = struct{}{}
		info, err := os.Stat(path)
		if err != nil || !sameFile(info, s.stats[path]) {
			s.dirty(path)
		}
	})
	if err != nil {
		return err
	}
	s.forget(dir, func(path string) bool { _, there := seen[path]; return !there })
	return nil
}

// forget asks for known files at or below a path to be read that gone picks.
func (s *Source) forget(at string, gone func(path string) bool) {
	for _, name := range s.catalog.names() {
		path := filepath.Join(s.tree, filepath.FromSlash(name))
		if (path == at || within(at, path)) && gone(path) {
			s.dirty(path)
		}
	}
}

func within(dir, path string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator)) || dir == "."
}

func sameFile(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// walk visits the directories and manifests below a directory. Links to
// directories are not followed, so there are no circles; what disappears meanwhile
// is passed over.
func (s *Source) walk(dir string, visitDir func(string), visitFile func(string)) error {
	if visitDir != nil {
		visitDir(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && dir != s.tree && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir() && s.only == "" && !isHidden(entry.Name()):
			if err := s.walk(path, visitDir, visitFile); err != nil {
				s.log.Warn("cannot list a directory of manifests", "path", path, "error", err)
			}
		case !entry.IsDir() && s.wanted(path):
			visitFile(path)
		}
	}
	return nil
}

// nextDue returns when the next pending file is to be read.
func (s *Source) nextDue() time.Time {
	var next time.Time
	first := true
	for _, waiting := range s.pending {
		if waiting == nil {
			return time.Time{}
		}
		if first || waiting.Due().Before(next) {
			next, first = waiting.Due(), false
		}
	}
	return next
}
