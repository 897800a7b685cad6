package subscribe

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// assembler gathers the pieces of one stream into transactions. After an error
// the stream is of no use and neither is its assembler.
type assembler struct {
	kinds []discoveryv1.Kind
	limit int
	nonce uint64
	open  assembled
	// skipped counts resources of kinds that were not asked for or that a newer
	// protocol has.
	skipped uint64
}

// assembled is what the pieces of a transaction say so far.
type assembled struct {
	// commit is the last piece, without its resources.
	commit  *discoveryv1.StreamDeltasResponse
	changes []change
	resets  coverage
	pieces  int
	bytes   int
}

func newAssembler(kinds []discoveryv1.Kind, limit int) *assembler {
	return &assembler{kinds: kinds, limit: limit}
}

// add takes the next piece. It returns the whole transaction if the piece commits
// it, else nil.
func (a *assembler) add(piece *discoveryv1.StreamDeltasResponse) (*assembled, error) {
	if piece.GetNonce() != a.nonce+1 {
		return nil, fmt.Errorf("response nonce is %d: expected %d", piece.GetNonce(), a.nonce+1)
	}
	a.nonce++
	a.open.pieces++
	size := proto.Size(piece)
	a.open.bytes += size
	if a.open.bytes > a.limit {
		return nil, fmt.Errorf("transaction to revision %d exceeds %d bytes with its piece %d: raise MaxTransactionBytes if the cluster is that large",
			piece.GetRevision(), a.limit, a.open.pieces)
	}
	if err := a.gather(piece, size); err != nil {
		return nil, fmt.Errorf("transaction to revision %d: %w", piece.GetRevision(), err)
	}
	if !piece.GetCommit() {
		return nil, nil
	}
	whole := a.open
	piece.Resources, piece.Removed, piece.Resets = nil, nil, nil
	whole.commit = piece
	a.open = assembled{}
	return &whole, nil
}

// gather takes over what a piece of a size says.
func (a *assembler) gather(piece *discoveryv1.StreamDeltasResponse, size int) error {
	for _, reset := range piece.GetResets() {
		if !slices.Contains(a.kinds, reset.GetKind()) {
			continue
		}
		if err := a.open.resets.add(reset); err != nil {
			return err
		}
	}
	for _, removed := range piece.GetRemoved() {
		a.change(change{name: resource.NameOf(removed)})
	}
	buffer := make([]byte, 0, size)
	for i, r := range piece.GetResources() {
		c, longer, err := set(buffer, r)
		if err != nil {
			return err
		}
		buffer, piece.Resources[i] = longer, nil
		a.change(c)
	}
	return nil
}

// set makes the change that sets a resource, with its encoding at the buffer's end.
func set(buffer []byte, r *discoveryv1.Resource) (change, []byte, error) {
	switch c, buffer, err := encode(buffer, r); {
	case err != nil:
		return c, nil, err
	case c.name.Name == "":
		return c, nil, errors.New("a resource has no name")
	case c.version == 0:
		return c, nil, fmt.Errorf("%s has no version", c.name)
	default:
		return c, buffer, nil
	}
}

func (a *assembler) change(c change) {
	if !slices.Contains(a.kinds, c.name.Kind) {
		a.skipped++
		return
	}
	a.open.changes = append(a.open.changes, c)
}

// coverage says which buckets are reset, in the finest division of each kind.
type coverage map[discoveryv1.Kind]*[resource.MaxBuckets]bool

func (c *coverage) add(reset *discoveryv1.ResetBucket) error {
	if err := resource.CheckBuckets(int(reset.GetBuckets())); err != nil {
		return fmt.Errorf("reset of %s: %w", resource.KindName(reset.GetKind()), err)
	}
	if reset.GetBucket() >= reset.GetBuckets() {
		return fmt.Errorf("reset of %s: bucket %d of %d", resource.KindName(reset.GetKind()), reset.GetBucket(), reset.GetBuckets())
	}
	if *c == nil {
		*c = coverage{}
	}
	covered := (*c)[reset.GetKind()]
	if covered == nil {
		covered = new([resource.MaxBuckets]bool)
		(*c)[reset.GetKind()] = covered
	}
	for fine := reset.GetBucket(); fine < resource.MaxBuckets; fine += reset.GetBuckets() {
		covered[fine] = true
	}
	return nil
}

// whole tells whether all buckets of all the kinds are reset.
func (c coverage) whole(kinds []discoveryv1.Kind) bool {
	for _, kind := range kinds {
		covered := c[kind]
		if covered == nil || slices.Contains(covered[:], false) {
			return false
		}
	}
	return true
}

// takeSkipped returns how many resources were skipped since the last call.
func (a *assembler) takeSkipped() uint64 {
	skipped := a.skipped
	a.skipped = 0
	return skipped
}
