package subscribe

import (
	"slices"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// held is what the subscriber has received, by name and version, and its digests.
type held struct {
	kinds    []discoveryv1.Kind
	versions map[discoveryv1.Kind]map[string]uint64
	digests  map[discoveryv1.Kind]resource.Digest
	source   *discoveryv1.SourceVersion
}

func newHeld(kinds []discoveryv1.Kind, initial map[resource.Name]uint64, source *discoveryv1.SourceVersion) *held {
	h := &held{
		kinds:    kinds,
		versions: make(map[discoveryv1.Kind]map[string]uint64, len(kinds)),
		digests:  make(map[discoveryv1.Kind]resource.Digest, len(kinds)),
		source:   source,
	}
	for _, kind := range kinds {
		h.versions[kind] = map[string]uint64{}
		h.digests[kind] = resource.NewDigest(kind)
	}
	for name, version := range initial {
		if slices.Contains(kinds, name.Kind) {
			h.set(name, version)
		}
	}
	return h
}

// set records a version; zero means that the resource is gone.
func (h *held) set(name resource.Name, version uint64) {
	versions := h.versions[name.Kind]
	digest := h.digests[name.Kind]
	digest.Toggle(name.Name, versions[name.Name])
	digest.Toggle(name.Name, version)
	if version == 0 {
		delete(versions, name.Name)
		return
	}
	versions[name.Name] = version
}

func (h *held) has(name resource.Name) bool { return h.versions[name.Kind][name.Name] != 0 }

// commit moves on to a transaction's content, which is the Transaction's afterwards. Where
// pieces name a resource more than once, the last word counts.
func (h *held) commit(whole *assembled) *Transaction {
	tx := &Transaction{
		Revision: whole.commit.GetRevision(),
		Nonce:    whole.commit.GetNonce(),
		Source:   whole.commit.GetSource(),
		Full:     whole.resets.whole(h.kinds),
	}
	if tx.Source != nil {
		h.source = tx.Source
	}
	last := make(map[resource.Name]int, len(whole.changes))
	for i, c := range whole.changes {
		last[c.name] = i
	}
	for _, name := range h.resetBy(whole.resets) {
		if _, named := last[name]; !named {
			tx.Removed = append(tx.Removed, name)
			h.set(name, 0)
		}
	}
	set := whole.changes[:0]
	for i, c := range whole.changes {
		switch {
		case last[c.name] != i:
		case c.encoded != nil:
			set = append(set, c)
			h.set(c.name, c.version)
		case h.has(c.name):
			tx.Removed = append(tx.Removed, c.name)
			h.set(c.name, 0)
		}
	}
	clear(whole.changes[len(set):])
	tx.Resources, whole.changes = Resources{list: set}, nil
	return tx
}

// resetBy returns the held names in the given buckets.
func (h *held) resetBy(resets coverage) []resource.Name {
	var names []resource.Name
	for kind, covered := range resets {
		for name := range h.versions[kind] {
			if covered[resource.NameHash(name)%resource.MaxBuckets] {
				names = append(names, resource.Name{Kind: kind, Name: name})
			}
		}
	}
	return names
}

// sum is the digest of everything held.
func (h *held) sum() uint64 {
	var sum uint64
	for _, digest := range h.digests {
		sum ^= digest.Sum()
	}
	return sum
}

// resume tells the server what is held, or is nil if nothing ever was.
func (h *held) resume() *discoveryv1.Resume {
	resume := &discoveryv1.Resume{Source: h.source}
	for _, kind := range h.kinds {
		if len(h.versions[kind]) > 0 {
			// Cloned because grpc may still read it when the digest moves on.
			digest := &discoveryv1.KindDigest{Kind: kind, Buckets: slices.Clone(h.digests[kind])}
			resume.Digests = append(resume.Digests, digest)
		}
	}
	if resume.Source == nil && len(resume.Digests) == 0 {
		return nil
	}
	return resume
}

func (h *held) counts() map[discoveryv1.Kind]int {
	counts := make(map[discoveryv1.Kind]int, len(h.kinds))
	for kind, versions := range h.versions {
		counts[kind] = len(versions)
	}
	return counts
}
