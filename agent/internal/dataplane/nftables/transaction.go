package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// loaded is what the kernel has of a family, as far as we need to remember it.
type loaded struct {
	family *family
	// beside is set if IPVS balances, beside these rules.
	beside bool
	sets   map[string]*nftables.Set
	extras extras
	spare  spares
	// retired are sets that rules looked into which have just been replaced. They are to be
	// emptied; true once a Collect has seen it.
	retired map[string]bool
	// counts is how many elements of ours each set has, and skeleton a hash of the
	// handles of everything else, or 0, to notice what others do.
	counts   map[string]int
	skeleton uint64
	// digest is that of our content, as the kernel holds it too; zero if it holds none.
	digest uint64
}

func newLoaded(f *family, settings dataplane.Settings) *loaded {
	l := &loaded{family: f, beside: settings.IPVS != nil, sets: map[string]*nftables.Set{}, spare: spares{}, counts: map[string]int{},
		retired: map[string]bool{}, extras: extras{family: f, there: map[string]struct{}{}, unused: map[string]bool{}}}
	for _, spec := range f.sets {
		l.sets[spec.name] = spec.set(f.table())
	}
	return l
}

// addSkeleton queues the table with all its sets, chains and rules.
func (l *loaded) addSkeleton(conn *nftables.Conn, settings dataplane.Settings) error {
	table := conn.AddTable(l.family.table())
	for _, spec := range l.family.sets {
		set := spec.set(table)
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
		l.sets[spec.name] = set
	}
	chains := l.family.skeleton(settings)
	for _, spec := range chains {
		addChain(conn, table, spec)
	}
	for _, spec := range chains {
		addRules(conn, table, spec)
	}
	return nil
}

// ready are the chains that are made before an element goes to them.
func (l *loaded) ready() map[string]struct{} {
	names := map[string]struct{}{}
	for n := 1; n <= readyPicks && !l.beside; n++ {
		names[pickPrefix+strconv.Itoa(n)], names[localPrefix+pickPrefix+strconv.Itoa(n)] = struct{}{}, struct{}{}
	}
	return names
}

func addChain(conn *nftables.Conn, table *nftables.Table, spec chainSpec) {
	chain := &nftables.Chain{Name: spec.name, Table: table}
	if spec.base {
		priority, policy := spec.priority, nftables.ChainPolicyAccept
		chain.Type, chain.Hooknum, chain.Priority, chain.Policy = spec.kind, spec.hook, &priority, &policy
	}
	conn.AddChain(chain)
}

func addRules(conn *nftables.Conn, table *nftables.Table, spec chainSpec) {
	marks := marksOf(table.Family, spec.rules)
	for i, exprs := range spec.rules {
		conn.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: spec.name, Table: table}, Exprs: exprs, UserData: marks[i]})
	}
}

// queue puts a batch into the transaction: its elements and the digest of what there is
// then.
func (l *loaded) queue(tx *transaction, b *batch) error {
	if b.empty() && l.digest != 0 {
		return nil
	}
	if l.digest != 0 {
		b.delete(digestElement(l.digest))
		b.digest ^= digestElement(l.digest).hash()
	}
	l.digest = max(1, l.digest^b.digest)
	b.add(digestElement(l.digest))
	return l.queueElements(tx, b)
}

// queueElements puts elements into the transaction: set by set, deletions before
// additions.
func (l *loaded) queueElements(tx *transaction, b *batch) error {
	for _, spec := range l.family.sets {
		for _, list := range []*elementList{b.deleted[spec.name], b.added[spec.name]} {
			if list != nil {
				if err := tx.elements(list); err != nil {
					return err
				}
			}
		}
		tx.count(l, spec.name, b.added[spec.name].count()-b.deleted[spec.name].count())
	}
	return nil
}

// digestElement is the one element of the set that holds the digest.
func digestElement(digest uint64) element {
	return element{set: contentDigest, key: string(binary.BigEndian.AppendUint64(nil, digest))}
}

// cidrElements returns the elements of an interval set that holds the prefixes,
// which may overlap or touch.
func (f *family) cidrElements(prefixes []netip.Prefix) []nftables.SetElement {
	var list []nftables.SetElement
	var end netip.Addr // The first address after the range before; invalid: none.
	sorted := f.own(prefixes)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int { return a.Masked().Addr().Compare(b.Masked().Addr()) })
	for i, prefix := range sorted {
		first, last := prefix.Masked().Addr(), lastAddr(prefix.Masked())
		after := last.Next()
		if i > 0 && (!end.IsValid() || first.Compare(end) <= 0) {
			if !end.IsValid() || after.IsValid() && after.Compare(end) <= 0 {
				continue
			}
			if list[len(list)-1].IntervalEnd {
				list = list[:len(list)-1]
			}
		} else {
			list = append(list, nftables.SetElement{Key: first.AsSlice()})
		}
		end = after
		if end.IsValid() {
			list = append(list, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return list
}
