package snapshot

import (
	"iter"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// View is what one node should hold at one snapshot.
type View struct {
	snapshot *Snapshot
	node     string
	zone     string
}

// Snapshot returns the snapshot that the view is of.
func (v View) Snapshot() *Snapshot { return v.snapshot }

// Node returns the node's name.
func (v View) Node() string { return v.node }

// Zone returns the node's zone, or empty.
func (v View) Zone() string { return v.zone }

// scopes returns the scopes that the view sees, the more specific first.
func (v View) scopes() []Scope {
	scopes := make([]Scope, 0, 3)
	if v.node != "" {
		scopes = append(scopes, Scope{Node: v.node})
	}
	if v.zone != "" {
		scopes = append(scopes, Scope{Zone: v.zone})
	}
	return append(scopes, Scope{})
}

// Get returns the resource of that name as the node sees it, or nil.
func (v View) Get(name resource.Name) *Entry {
	for _, scope := range v.scopes() {
		if entry := v.snapshot.lookup(scope, name); entry != nil {
			return entry
		}
	}
	return nil
}

// All yields every resource of the kinds asked for, in the order of
// resource.Kinds.
func (v View) All(kinds func(discoveryv1.Kind) bool) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, kind := range resource.Kinds {
			if !kinds(kind) {
				continue
			}
			for entry := range v.Bucket(kind, 0, 1) {
				if !yield(entry) {
					return
				}
			}
		}
	}
}

// Bucket yields the resources of one bucket of a division of the kind into
// buckets, which must be a power of two up to resource.MaxBuckets.
func (v View) Bucket(kind discoveryv1.Kind, bucket, buckets int) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, scope := range v.scopes() {
			for fine := bucket; fine < resource.MaxBuckets; fine += buckets {
				if !v.walk(scope, kind, fine, buckets == 1, yield) {
					return
				}
				if buckets == 1 {
					break
				}
			}
		}
	}
}

// walk yields the entries of one scope in one of the finest buckets, or in all of
// them, that no more specific scope overrides.
func (v View) walk(scope Scope, kind discoveryv1.Kind, bucket int, all bool, yield func(*Entry) bool) bool {
	prefix := appendKind(scopePrefix(scope), kind)
	overridden := scope == (Scope{}) && v.snapshot.overlay[v.zone][kind] != nil
	if !all {
		prefix = appendBucket(prefix, bucket)
	}
	iterator := v.snapshot.tree.Root().Iterator()
	iterator.SeekPrefix(prefix)
	for _, entry, ok := iterator.Next(); ok; _, entry, ok = iterator.Next() {
		if overridden && v.snapshot.lookup(Scope{Zone: v.zone}, entry.Name) != nil {
			continue
		}
		if !yield(entry) {
			return false
		}
	}
	return true
}

// Digest returns the digest of the view's resources of one kind, MaxBuckets wide.
func (v View) Digest(kind discoveryv1.Kind) resource.Digest {
	digest := make(resource.Digest, resource.MaxBuckets)
	copy(digest, v.snapshot.shared[kind])
	for i, bucket := range v.snapshot.overlay[v.zone][kind] {
		digest[i] ^= bucket
	}
	if v.node == "" {
		return digest
	}
	v.walk(Scope{Node: v.node}, kind, 0, true, func(entry *Entry) bool {
		digest.Toggle(entry.Name.Name, entry.Version)
		return true
	})
	return digest
}

// Since returns what changed in this view since an older one of the same node:
// resources to set and names to remove, no name in both. ok is false if the log
// no longer reaches back that far.
func (v View) Since(old View) (set []*Entry, removed []resource.Name, ok bool) {
	names, ok := v.changedSince(old)
	if !ok {
		return nil, nil, false
	}
	for _, name := range names {
		now, before := v.Get(name), old.Get(name)
		switch {
		case now == nil && before != nil:
			removed = append(removed, name)
		case now != nil && (before == nil || before.Version != now.Version):
			set = append(set, now)
		}
	}
	return set, removed, true
}

// changedSince returns the names that may differ between the views, ordered by
// kind as resource.Kinds says, each once.
func (v View) changedSince(old View) ([]resource.Name, bool) {
	log := v.snapshot.log
	missed := v.snapshot.Revision - old.snapshot.Revision
	if old.snapshot.Revision > v.snapshot.Revision || missed > uint64(len(log)) {
		return nil, false
	}
	seen := map[resource.Name]struct{}{}
	add := func(names []resource.Name) {
		for _, name := range names {
			seen[name] = struct{}{}
		}
	}
	for _, d := range log[uint64(len(log))-missed:] {
		add(d.shared)
		add(d.zones[v.zone])
		add(d.nodes[v.node])
	}
	if old.zone != v.zone {
		add(old.variants())
		add(v.variants())
	}
	byKind := map[discoveryv1.Kind][]resource.Name{}
	for name := range seen {
		byKind[name.Kind] = append(byKind[name.Kind], name)
	}
	names := make([]resource.Name, 0, len(seen))
	for _, kind := range resource.Kinds {
		names = append(names, byKind[kind]...)
	}
	return names, true
}

// variants returns the names of which the view's zone has its own variant.
func (v View) variants() []resource.Name {
	if v.zone == "" {
		return nil
	}
	var names []resource.Name
	iterator := v.snapshot.tree.Root().Iterator()
	iterator.SeekPrefix(scopePrefix(Scope{Zone: v.zone}))
	for _, entry, ok := iterator.Next(); ok; _, entry, ok = iterator.Next() {
		names = append(names, entry.Name)
	}
	return names
}
