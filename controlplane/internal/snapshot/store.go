package snapshot

import (
	"maps"
	"sync/atomic"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// defaultLog is how many commits a stream may miss and still be brought up to date
// by what changed; beyond that it resumes by digests, in constant space.
const defaultLog = 4096

// Store makes snapshots. One goroutine writes (Begin, Commit); any number read
// Current.
type Store struct {
	current atomic.Pointer[Snapshot]
	seen    atomic.Pointer[model.SourceVersion]
	first   chan struct{}
	// tree is that of the current snapshot, but for who owns what: to take over equal
	// content is no change that a snapshot is made for.
	tree *iradix.Tree[*Entry]
	// owned lists, for each owner, the resources that its last Replace left.
	owned map[string][]scopedName
	log   int
	now   func() time.Time
}

type scopedName struct {
	scope Scope
	name  resource.Name
}

// NewStore returns a store without a snapshot. now gives commits their time.
func NewStore(now func() time.Time) *Store { return NewStoreOf(now, defaultLog) }

// NewStoreOf is NewStore with a change log of so many commits.
func NewStoreOf(now func() time.Time, log int) *Store {
	return &Store{first: make(chan struct{}), tree: iradix.New[*Entry](), owned: map[string][]scopedName{}, log: log, now: now}
}

// Current returns the newest snapshot, or nil before the first commit.
func (s *Store) Current() *Snapshot { return s.current.Load() }

// Seen returns the newest point of the source's history that has been compiled. It
// moves on without a new snapshot while nothing that matters changes.
func (s *Store) Seen() model.SourceVersion {
	if seen := s.seen.Load(); seen != nil {
		return *seen
	}
	return model.SourceVersion{}
}

// First returns a channel that is closed when the first snapshot is committed.
func (s *Store) First() <-chan struct{} { return s.first }

// Tx gathers changes for one commit.
type Tx struct {
	store   *Store
	base    *Snapshot
	tree    *iradix.Txn[*Entry]
	shared  digests
	overlay map[string]digests
	copied  map[digestRef]bool
	// before has the first-seen state of every touched key, to tell changes from
	// rewrites with equal content.
	before map[scopedName]uint64
	owned  map[string][]scopedName
}

type digestRef struct {
	zone string
	kind discoveryv1.Kind
}

// Begin starts a transaction on the current snapshot. Only one may be open.
func (s *Store) Begin() *Tx {
	base := s.current.Load()
	if base == nil {
		base = &Snapshot{tree: s.tree, shared: digests{}, overlay: map[string]digests{}, changed: make(chan struct{})}
	}
	return &Tx{
		store: s, base: base, tree: s.tree.Txn(),
		shared: base.shared, overlay: base.overlay, copied: map[digestRef]bool{},
		before: map[scopedName]uint64{}, owned: map[string][]scopedName{},
	}
}

// Replace makes the given resources all that the owner has: those of its last
// Replace that are not among them are removed, unless another owner has taken
// them over since. An error leaves the owner as it was.
func (t *Tx) Replace(owner string, resources []Scoped) error {
	entries := make([]*Entry, len(resources))
	names := make([]scopedName, len(resources))
	kept := make(map[scopedName]struct{}, len(resources))
	for i, r := range resources {
		entry, err := encode(owner, r)
		if err != nil {
			return err
		}
		entries[i] = entry
		names[i] = scopedName{scope: r.Scope, name: entry.Name}
		kept[names[i]] = struct{}{}
	}
	shareFrames(entries)
	for _, old := range t.ownedBy(owner) {
		if _, ok := kept[old]; !ok {
			t.remove(owner, old)
		}
	}
	for i, entry := range entries {
		t.set(names[i], entry)
	}
	t.owned[owner] = names
	return nil
}

// Owns tells whether the owner has any resources.
func (t *Tx) Owns(owner string) bool { return len(t.ownedBy(owner)) > 0 }

// shareFrames lets variants of equal name and content share one frame.
func shareFrames(entries []*Entry) {
	type content struct {
		name    resource.Name
		version uint64
	}
	first := make(map[content]*Entry, len(entries))
	for _, entry := range entries {
		c := content{entry.Name, entry.Version}
		if same, ok := first[c]; ok {
			entry.Frame = same.Frame
			continue
		}
		first[c] = entry
	}
}

func (t *Tx) ownedBy(owner string) []scopedName {
	if names, ok := t.owned[owner]; ok {
		return names
	}
	return t.store.owned[owner]
}

func (t *Tx) set(at scopedName, entry *Entry) {
	k := key(at.scope, at.name)
	old, _ := t.tree.Get(k)
	if old != nil && old.Version == entry.Version && old.owner == entry.owner {
		return
	}
	t.note(at, old)
	t.toggle(at, old, entry)
	t.tree.Insert(k, entry)
}

func (t *Tx) remove(owner string, at scopedName) {
	k := key(at.scope, at.name)
	old, _ := t.tree.Get(k)
	if old == nil || old.owner != owner {
		return
	}
	t.note(at, old)
	t.toggle(at, old, nil)
	t.tree.Delete(k)
}

// note remembers a key's version from before the transaction.
func (t *Tx) note(at scopedName, old *Entry) {
	if _, ok := t.before[at]; !ok {
		t.before[at] = version(old)
	}
}

func version(e *Entry) uint64 {
	if e == nil {
		return 0
	}
	return e.Version
}

// toggle keeps the digests equal to the tree's content while old becomes entry.
func (t *Tx) toggle(at scopedName, old, entry *Entry) {
	if at.scope.Node != "" {
		return // Digested when asked for: a node has few of its own.
	}
	if at.scope.Zone != "" {
		t.toggleZone(at, old, entry)
		return
	}
	digest := t.writable("", at.name.Kind)
	digest.Toggle(at.name.Name, version(old))
	digest.Toggle(at.name.Name, version(entry))
	for zone := range t.overlay {
		if variant, _ := t.tree.Get(key(Scope{Zone: zone}, at.name)); variant == nil {
			continue
		}
		overlay := t.writable(zone, at.name.Kind)
		overlay.Toggle(at.name.Name, version(old))
		overlay.Toggle(at.name.Name, version(entry))
	}
}

// toggleZone updates a zone's overlay, which has shared and variant of exactly
// those names of which the zone has a variant.
func (t *Tx) toggleZone(at scopedName, old, entry *Entry) {
	overlay := t.writable(at.scope.Zone, at.name.Kind)
	overlay.Toggle(at.name.Name, version(old))
	overlay.Toggle(at.name.Name, version(entry))
	if (old == nil) != (entry == nil) {
		common, _ := t.tree.Get(key(Scope{}, at.name))
		overlay.Toggle(at.name.Name, version(common))
	}
}

// writable returns the digest of a zone's overlay, or of the shared resources for
// an empty zone, copied from the base snapshot once.
func (t *Tx) writable(zone string, kind discoveryv1.Kind) resource.Digest {
	ref := digestRef{zone, kind}
	if t.copied[ref] {
		return t.of(zone)[kind]
	}
	if len(t.copied) == 0 {
		t.shared, t.overlay = maps.Clone(t.shared), maps.Clone(t.overlay)
	}
	t.copied[ref] = true
	fresh := make(resource.Digest, resource.MaxBuckets)
	copy(fresh, t.of(zone)[kind])
	if zone == "" {
		t.shared[kind] = fresh
		return fresh
	}
	zoneDigests := maps.Clone(t.overlay[zone])
	if zoneDigests == nil {
		zoneDigests = digests{}
	}
	zoneDigests[kind] = fresh
	t.overlay[zone] = zoneDigests
	return fresh
}

func (t *Tx) of(zone string) digests {
	if zone == "" {
		return t.shared
	}
	return t.overlay[zone]
}

// Commit makes the transaction's content current and returns the new snapshot and
// how many resources it changed. If it changed none, and there is a snapshot
// already, that one stays current and no stream is woken.
func (t *Tx) Commit(source model.SourceVersion) (*Snapshot, int) {
	change, changed := t.delta()
	current := t.store.current.Load()
	maps.Copy(t.store.owned, t.owned)
	for owner, names := range t.owned {
		if len(names) == 0 {
			delete(t.store.owned, owner)
		}
	}
	t.store.tree = t.tree.Commit()
	// Last, so that whoever sees the source's point also sees its snapshot.
	defer t.store.seen.Store(&source)
	if changed == 0 && current != nil {
		return current, 0
	}
	log := t.base.log
	if keep := t.store.log - 1; len(log) > keep {
		log = log[len(log)-keep:]
	}
	next := &Snapshot{
		Revision: t.base.Revision + 1,
		Source:   source,
		Time:     t.store.now(),
		tree:     t.store.tree,
		shared:   t.shared,
		overlay:  t.overlay,
		log:      append(log, change),
		changed:  make(chan struct{}),
	}
	t.store.current.Store(next)
	if current == nil {
		close(t.store.first)
	} else {
		close(current.changed)
	}
	return next, changed
}

// delta returns what the transaction changed and how many resources that are.
func (t *Tx) delta() (delta, int) {
	var d delta
	changed := 0
	for at, before := range t.before {
		now, _ := t.tree.Get(key(at.scope, at.name))
		if version(now) == before {
			continue
		}
		changed++
		switch {
		case at.scope.Node != "":
			d.nodes = appendName(d.nodes, at.scope.Node, at.name)
		case at.scope.Zone != "":
			d.zones = appendName(d.zones, at.scope.Zone, at.name)
		default:
			d.shared = append(d.shared, at.name)
		}
	}
	return d, changed
}

func appendName(m map[string][]resource.Name, scope string, name resource.Name) map[string][]resource.Name {
	if m == nil {
		m = map[string][]resource.Name{}
	}
	m[scope] = append(m[scope], name)
	return m
}
