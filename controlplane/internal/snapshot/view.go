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

// scopes returns the scopes in which the view has resources of a kind, the more specific
// first.
func (v View) scopes(kind discoveryv1.Kind) []Scope {
	switch {
	case OfNode(kind) && v.node == "":
		return nil
	case OfNode(kind):
		return []Scope{{Node: v.node}}
	case v.zone == "":
		return []Scope{{}}
	default:
		return []Scope{{Zone: v.zone}, {}}
	}
}

// Get returns the resource of that name as the node sees it, or nil.
func (v View) Get(name resource.Name) *Entry {
	if OfNode(name.Kind) {
		return v.snapshot.lookup(Scope{Node: v.node}, name)
	}
	return v.snapshot.inZone(v.zone, name)
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
		for _, scope := range v.scopes(kind) {
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
	if OfNode(kind) {
		for entry := range v.Bucket(kind, 0, 1) {
			digest.Toggle(entry.Name.Name, entry.Version)
		}
		return digest
	}
	copy(digest, v.snapshot.shared[kind])
	for i, bucket := range v.snapshot.overlay[v.zone][kind] {
		digest[i] ^= bucket
	}
	return digest
}
