package nftables

import (
	"fmt"
	"iter"
	"maps"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
)

// Most of what a replacement wants is in the kernel already: after a restart because few
// Services have changed meanwhile, and at the resync because none should have. Then what
// is there is read, which nobody else has to wait for, and what differs is committed.

const (
	// muchOf is the part of a content beyond which a difference is no longer worth it.
	muchOf = 0.5
	// mostRead is how many elements are read at most: the kernel goes through a set from its
	// beginning for every 32 KiB that it tells of it. Reading 100,000 endpoints costs a third
	// more than writing them, and twice as many cost four times that.
	mostRead = 1 << 18
)

// difference returns what makes the kernel's elements, but for ranges of Services and what
// packets have added, those of a content and its digest.
func (p *Plane) difference(l *loaded, content *batch, digest element) (*batch, error) {
	d := newBatch(p.family)
	return d, p.eachDifference(l, content, digest, d.add, d.delete)
}

// eachDifference hands over each element that the kernel lacks, and each that it has and is
// not to have; a value that is another is both. It notes how many elements there are.
func (p *Plane) eachDifference(l *loaded, content *batch, digest element, missing, surplus func(element)) error {
	alone := newBatch(p.family)
	alone.add(digest)
	for _, spec := range p.family.sets {
		if _, retired := l.retired[spec.name]; retired || spec.dynamic || spec.name == serviceCIDRs {
			continue
		}
		list := content.added[spec.name]
		if spec.name == digest.set {
			list = alone.added[digest.set]
		}
		wanted := map[uint64]struct{}{}
		for e := range list.elements() {
			wanted[e.hash()] = struct{}{}
		}
		held, err := dump(p.family, unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, tableName,
			nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(spec.name)))
		if err != nil {
			return fmt.Errorf("reading %s: %w", spec.name, err)
		}
		for _, part := range held {
			for _, encoded := range netlinkwire.Attributes(part[unix.NFTA_SET_ELEM_LIST_ELEMENTS]) {
				e := spec.parse(encoded)
				l.counts[spec.name]++
				if _, ok := wanted[e.hash()]; ok {
					delete(wanted, e.hash())
					continue
				}
				surplus(e)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		for e := range list.elements() {
			if _, ok := wanted[e.hash()]; ok {
				missing(e)
			}
		}
	}
	return nil
}

// size is how many elements are added and deleted; nil has none.
func (b *batch) size() int {
	n := 0
	if b == nil {
		return n
	}
	for _, lists := range []map[string]*elementList{b.added, b.deleted} {
		for list := range maps.Values(lists) {
			n += list.count()
		}
	}
	return n
}

// elements yields what was added to a list. Nothing may be added after that.
func (l *elementList) elements() iter.Seq[element] {
	return func(yield func(element) bool) {
		if l == nil {
			return
		}
		for _, buffer := range l.messages() {
			for message := range netlinkwire.Messages(buffer) {
				for _, encoded := range netlinkwire.Attributes(attribute(message[headerLen+nfgenmsgLen:], unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
					if !yield(l.set.parse(encoded)) {
						return
					}
				}
			}
		}
	}
}

// parse decodes an element of the set. A verdict that we make none of has a value that no
// element of ours has.
func (s setSpec) parse(encoded []byte) element {
	e := element{
		set:    s.name,
		key:    string(attribute(attribute(encoded, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE)),
		keyEnd: string(attribute(attribute(encoded, nftaSetElemKeyEnd), unix.NFTA_DATA_VALUE)),
	}
	data := attribute(encoded, unix.NFTA_SET_ELEM_DATA)
	if !s.verdict {
		e.value = string(attribute(data, unix.NFTA_DATA_VALUE))
		return e
	}
	verdict := attribute(data, unix.NFTA_DATA_VERDICT)
	e.value = text(attribute(verdict, unix.NFTA_VERDICT_CHAIN))
	if e.value == "" {
		e.value = dropVerdict
	}
	if code := attribute(verdict, unix.NFTA_VERDICT_CODE); string(code) != s.verdictCode(e.value) {
		e.value = fmt.Sprintf("%s by verdict %x", e.value, code)
	}
	return e
}
