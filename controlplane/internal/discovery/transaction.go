package discovery

import (
	"fmt"
	"iter"
	"slices"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// transaction is what leads a subscriber to a view.
type transaction struct {
	view snapshot.View
	// seen is what had been seen of the source when the view was taken.
	seen model.SourceVersion
	// digest is that of the view, for the subscribed kinds.
	digest uint64
	resets []*discoveryv1.ResetBucket
	// removed and entries are the stream's own; bundle, which may be nil, is what it has
	// in common with others.
	removed []resource.Name
	entries iter.Seq[*snapshot.Entry]
	bundle  *bundle
	// heavy is set if it carries much of the view: it has to be admitted.
	heavy bool
	// held and served are how many Services, at least, a subscriber that resumes holds,
	// and how many by the same measure are in the view.
	held, served int
	// small is set if it is known to fit a piece.
	small bool
}

// source returns the newest point of the source's history that the view reflects. What
// was seen since its snapshot changed nothing, but a subscriber that is told of the
// snapshot's point only may go back to what another replica made of the points between.
func (t *transaction) source() *discoveryv1.SourceVersion {
	if seen := sourceProto(t.seen); behind(t.view.Snapshot().Source, seen) {
		return seen
	}
	return sourceProto(t.view.Snapshot().Source)
}

// everything leads a subscriber that holds nothing, or that nothing is known of,
// to the view.
func (s *Server) everything(view snapshot.View, of kinds) transaction {
	key := whole{snapshot: view.Snapshot(), zone: view.Zone(), of: of}
	common := s.wholes.take(view.Snapshot().Revision, key, func() *bundle {
		return bundleOf(view.All(of.common().has), s.cfg.PieceBytes)
	})
	own := of.own()
	tx := transaction{view: view, digest: common.digest ^ own.digest(view), entries: view.All(own.has), bundle: common, heavy: true}
	for _, kind := range of.list() {
		tx.resets = append(tx.resets, wholeKind(kind))
	}
	return tx
}

// resumed leads a subscriber that holds what the digests say to the view, by
// whole buckets.
func resumed(view snapshot.View, of kinds, digests []*discoveryv1.KindDigest) (transaction, error) {
	theirs := map[discoveryv1.Kind]resource.Digest{}
	for _, digest := range digests {
		kind := digest.GetKind()
		if _, twice := theirs[kind]; twice {
			return transaction{}, fmt.Errorf("resume.digests: %s occurs twice", resource.KindName(kind))
		}
		if err := resource.CheckBuckets(len(digest.GetBuckets())); err != nil {
			return transaction{}, fmt.Errorf("resume.digests: %s: %w", resource.KindName(kind), err)
		}
		theirs[kind] = digest.GetBuckets()
	}
	tx := transaction{view: view}
	for _, kind := range of.list() {
		ours := view.Digest(kind)
		tx.digest ^= ours.Sum()
		held := theirs[kind]
		if held == nil {
			held = resource.Digest{0}
		}
		resets, err := differing(kind, ours, held)
		if err != nil {
			return transaction{}, err
		}
		tx.resets = append(tx.resets, resets...)
		tx.heavy = tx.heavy || heavy(kind, resets)
		if kind == discoveryv1.Kind_KIND_SERVICE {
			tx.held, tx.served = used(held), usedOf(ours, len(held))
		}
	}
	tx.entries = inBuckets(view, tx.resets)
	return tx, nil
}

// used counts the buckets of a digest that are not empty. That is how many resources
// there are if they are few, and less than that if they are many.
func used(digest resource.Digest) int {
	count := 0
	for _, bucket := range digest {
		if bucket != 0 {
			count++
		}
	}
	return count
}

// usedOf does the same for a digest of so many buckets.
func usedOf(digest resource.Digest, buckets int) int {
	folded, err := digest.Fold(buckets)
	if err != nil {
		return used(digest)
	}
	return used(folded)
}

func wholeKind(kind discoveryv1.Kind) *discoveryv1.ResetBucket {
	return &discoveryv1.ResetBucket{Kind: kind, Bucket: 0, Buckets: 1}
}

// differing returns the buckets in which a subscriber's digest differs. If that is
// most of them the kind is one bucket.
func differing(kind discoveryv1.Kind, ours, theirs resource.Digest) ([]*discoveryv1.ResetBucket, error) {
	folded, err := ours.Fold(len(theirs))
	if err != nil {
		return nil, err
	}
	var resets []*discoveryv1.ResetBucket
	for bucket := range folded {
		if folded[bucket] != theirs[bucket] {
			resets = append(resets, &discoveryv1.ResetBucket{Kind: kind, Bucket: uint32(bucket), Buckets: uint32(len(folded))})
		}
	}
	if 4*len(resets) > 3*len(folded) {
		return []*discoveryv1.ResetBucket{wholeKind(kind)}, nil
	}
	return resets, nil
}

// heavy tells whether the resets cover more than a quarter of a kind of which a
// cluster has many.
func heavy(kind discoveryv1.Kind, resets []*discoveryv1.ResetBucket) bool {
	if kind != discoveryv1.Kind_KIND_SERVICE && kind != discoveryv1.Kind_KIND_ENDPOINT_SET || len(resets) == 0 {
		return false
	}
	return 4*len(resets) > int(resets[0].GetBuckets())
}

func inBuckets(view snapshot.View, resets []*discoveryv1.ResetBucket) iter.Seq[*snapshot.Entry] {
	return func(yield func(*snapshot.Entry) bool) {
		for _, reset := range resets {
			for entry := range view.Bucket(reset.GetKind(), int(reset.GetBucket()), int(reset.GetBuckets())) {
				if !yield(entry) {
					return
				}
			}
		}
	}
}

// maxSmall is up to how many names a transaction may remove that is small: that is fewer
// than fit a piece.
const maxSmall = 32

// difference leads a subscriber from one view to that of a newer snapshot. empty is set if
// there is nothing to send, ok is false if the change log no longer reaches back that far.
func (s *Server) difference(old snapshot.View, digest uint64, now *snapshot.Snapshot, of kinds) (tx transaction, empty, ok bool) {
	view, way, ok := old.To(now)
	if !ok {
		return transaction{}, false, false
	}
	common := s.spans.take(now.Revision, spanned{way.Span, of}, func() *bundle {
		return bundleOfSteps(way.Span.Steps(), of, s.cfg.PieceBytes)
	})
	tx = transaction{view: view, digest: digest ^ common.digest, bundle: common}
	var set []*snapshot.Entry
	bytes := common.bytes()
	for _, step := range way.Own {
		if !of.has(step.Name().Kind) {
			continue
		}
		tx.digest ^= moved(step)
		if step.To == nil {
			tx.removed = append(tx.removed, step.Name())
			continue
		}
		set = append(set, step.To)
		bytes += len(step.To.Frame)
	}
	tx.entries = slices.Values(set)
	tx.small = bytes <= s.cfg.PieceBytes && len(tx.removed) <= maxSmall
	return tx, len(set)+len(tx.removed) == 0 && common.empty(), true
}

// moved returns by what a step changes the digest.
func moved(step snapshot.Step) uint64 { return contribution(step.From) ^ contribution(step.To) }

func contribution(e *snapshot.Entry) uint64 {
	if e == nil {
		return 0
	}
	return resource.Mix(resource.NameHash(e.Name.Name), e.Version)
}
