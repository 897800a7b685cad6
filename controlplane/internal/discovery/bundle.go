package discovery

import (
	"iter"
	"slices"
	"sync"
	"weak"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// bundle is what many streams are sent alike, encoded once. It is immutable.
type bundle struct {
	parts []part
	// digest is by what the bundle changes the digest of who takes it.
	digest uint64
}

// part is encoded fields of a response that fit a piece.
type part struct {
	fields    mem.SliceBuffer
	resources int
}

func (b *bundle) empty() bool { return len(b.parts) == 0 }

// bytes returns the size of the encoded fields.
func (b *bundle) bytes() int {
	sum := 0
	for i := range b.parts {
		sum += len(b.parts[i].fields)
	}
	return sum
}

// bundler makes a bundle whose parts are within the limit, if one resource alone is not
// larger.
type bundler struct {
	bundle bundle
	limit  int
	// fields are those of the open part.
	fields           [][]byte
	bytes, resources int
}

func (b *bundler) add(fields []byte, resources int) {
	if b.bytes+len(fields) > b.limit {
		b.cut()
	}
	b.fields = append(b.fields, fields)
	b.bytes += len(fields)
	b.resources += resources
}

func (b *bundler) cut() {
	if b.bytes > 0 {
		b.bundle.parts = append(b.bundle.parts, part{fields: slices.Concat(b.fields...), resources: b.resources})
		b.fields, b.bytes, b.resources = b.fields[:0], 0, 0
	}
}

func (b *bundler) done() *bundle {
	b.cut()
	return &b.bundle
}

// bundleOf returns a bundle that sets the entries for who has none of them.
func bundleOf(entries iter.Seq[*snapshot.Entry], limit int) *bundle {
	b := bundler{limit: limit}
	for entry := range entries {
		b.add(entry.Frame, 1)
		b.bundle.digest ^= contribution(entry)
	}
	return b.done()
}

// bundleOfSteps returns a bundle with those steps that are of the kinds.
func bundleOfSteps(steps []snapshot.Step, of kinds, limit int) *bundle {
	b := bundler{limit: limit}
	for _, step := range steps {
		switch {
		case !of.has(step.Name().Kind):
			continue
		case step.To == nil:
			b.add(removal(step), 0)
		default:
			b.add(step.To.Frame, 1)
		}
		b.bundle.digest ^= moved(step)
	}
	return b.done()
}

// removal encodes that a resource is removed.
func removal(step snapshot.Step) []byte {
	name := step.Name()
	// A message of strings and enums that are valid always has an encoding.
	fields, _ := proto.Marshal(&discoveryv1.StreamDeltasResponse{Removed: []*discoveryv1.ResourceName{name.Proto()}})
	return fields
}

// spanned and whole are what bundles of differences and of whole views depend on, besides
// the limit of a piece.
type spanned struct {
	span snapshot.Span
	of   kinds
}

type whole struct {
	snapshot *snapshot.Snapshot
	zone     string
	of       kinds
}

// shelf keeps the bundles that lead to the newest revision, so that each is made once for
// all streams that are at it. It refers to them weakly: once nobody sends a bundle any
// more, its memory is free. The zero value is ready for use.
type shelf[K comparable] struct {
	mu       sync.Mutex
	revision uint64
	bundles  map[K]weak.Pointer[bundle]
}

// take returns the bundle of a key, which leads to a revision, and makes it if need be.
// Others wait meanwhile, because most of them wait for the same.
func (s *shelf[K]) take(revision uint64, key K, make func() *bundle) *bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision < s.revision {
		return make() // The stream has read this snapshot just before the next one came.
	}
	if revision > s.revision || s.bundles == nil {
		s.revision, s.bundles = revision, map[K]weak.Pointer[bundle]{}
	}
	if made := s.bundles[key].Value(); made != nil {
		return made
	}
	made := make()
	s.bundles[key] = weak.Make(made)
	return made
}
