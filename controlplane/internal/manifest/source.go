package manifest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/settle"
)

// Config says where manifests are and where they go.
type Config struct {
	// Path is a directory or a file.
	Path   string
	Writer *admission.Writer
	Logger hclog.Logger
	// Rand makes the source's id, which tells its versions from those of an earlier
	// process.
	Rand io.Reader
}

// IDSize is how many random bytes a source reads.
const IDSize = 8

// Source reads manifests. It is not safe for concurrent use.
type Source struct {
	path    string
	writer  *admission.Writer
	log     hclog.Logger
	version model.SourceVersion
	catalog *catalog
	// pending are files to read, by path; nil until one was read in vain.
	pending map[string]*settle.File
	// stats are of the files as last read, to tell which changed unseen.
	stats map[string]fs.FileInfo
	// out gathers what is to be written as one update.
	out changes
	// tree is the root directory; only is the one file in it to read, or empty.
	tree, only string
	// gone is set while the root directory is not there.
	gone bool
}

// New returns a source; nothing is read yet.
func New(cfg Config) (*Source, error) {
	var random [IDSize]byte
	if _, err := io.ReadFull(cfg.Rand, random[:]); err != nil {
		return nil, fmt.Errorf("making an id for the manifests in %s: %w", cfg.Path, err)
	}
	return &Source{
		path:    filepath.Clean(cfg.Path),
		writer:  cfg.Writer,
		log:     cfg.Logger,
		version: model.SourceVersion{Source: "manifest/" + hex.EncodeToString(random[:])},
		catalog: newCatalog(),
		pending: map[string]*settle.File{},
		stats:   map[string]fs.FileInfo{},
		out:     newChanges(),
	}, nil
}

func newChanges() changes {
	return changes{objects: map[id]metav1.Object{}, problems: map[string][]model.Problem{}}
}

// Load reads everything once and marks the writer's store as synced. What cannot
// be used is recorded there as problems; only a path that cannot be read at all is
// an error.
func (s *Source) Load(ctx context.Context) error {
	if err := s.locate(); err != nil {
		return err
	}
	if err := s.scan(s.tree); err != nil {
		return fmt.Errorf("manifests: listing %s: %w", s.path, err)
	}
	for s.readPending(time.Now()); len(s.pending) > 0; s.readPending(time.Now()) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("manifests: reading %s: %w", s.path, context.Cause(ctx))
		case <-time.After(time.Until(s.nextDue())):
		}
	}
	s.log.Info("read manifests", "path", s.path, "files", len(s.catalog.files), "objects", len(s.catalog.definitions))
	s.write(true)
	return nil
}

// locate finds out whether the path is a directory or a file.
func (s *Source) locate() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("manifests: expected a directory or file: %w", err)
	}
	s.tree, s.only = s.path, ""
	if !info.IsDir() {
		s.tree, s.only = filepath.Dir(s.path), filepath.Base(s.path)
	}
	return nil
}

// readPending reads every file that is due.
func (s *Source) readPending(now time.Time) {
	for path, waiting := range s.pending {
		if waiting != nil && waiting.Due().After(now) {
			continue
		}
		r := s.read(path)
		if waiting == nil {
			waiting = &settle.File{}
		}
		if !waiting.Settle(r.sum, r.patience, now) {
			s.pending[path] = waiting
			continue
		}
		delete(s.pending, path)
		s.accept(s.name(path), r.next)
	}
}

// read reads one file as it is now.
func (s *Source) read(path string) reading {
	name := s.name(path)
	before := s.catalog.files[name]
	data, info, err := settle.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.rootExists():
		delete(s.stats, path)
		return newReading(nil, nil, s.catalog.unlikely(name, nil))
	case err != nil:
		return newReading([]byte(err.Error()), unreadable(name, err), false)
	}
	s.stats[path] = info
	next := read(name, data, before)
	return newReading(data, next, s.catalog.unlikely(name, next))
}

// rootExists tells a removed file from a root that went away as a whole, such as
// an unmounted volume: that is no reason to take everything out of force.
func (s *Source) rootExists() bool {
	_, err := os.Stat(s.tree)
	return err == nil
}

// accept takes a file's contents, nil for a removed one, for the next update.
func (s *Source) accept(name string, next *contents) {
	if next == nil && s.catalog.files[name] == nil {
		return
	}
	if next != nil {
		for _, other := range next.ignored {
			s.log.Debug("ignored an object of another kind", "file", name, "object", other.String())
		}
	}
	changed := s.catalog.replace(name, next)
	for i, object := range changed.objects {
		s.out.objects[i] = object
	}
	for file, problems := range changed.problems {
		s.out.problems[file] = problems
	}
}

// write puts into force what was accepted since the last time, as one update.
func (s *Source) write(synced bool) {
	if len(s.out.objects) == 0 && len(s.out.problems) == 0 && !synced {
		return
	}
	generation := s.version.Services + 1
	s.version = model.SourceVersion{
		Source: s.version.Source, Services: generation, EndpointSlices: generation, Nodes: generation, ServiceCIDRs: generation,
	}
	s.writer.Update(func(b *admission.Batch) {
		for i, object := range s.out.objects {
			if object == nil {
				remove(b, i)
			} else {
				put(b, object)
			}
		}
		for file, problems := range s.out.problems {
			b.SetProblems("file "+file, problems)
		}
		b.SetVersion(s.version)
		if synced {
			b.SetSynced()
		}
	})
	s.out = newChanges()
}
