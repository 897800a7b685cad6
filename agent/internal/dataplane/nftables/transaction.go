package nftables

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// loaded is what the kernel has of a family, as far as we need to remember it.
type loaded struct {
	family *family
	// beside is set if IPVS balances, beside these rules.
	beside bool
	sets   map[string]*nftables.Set
	// picks and affinities are the chains that exist beyond the skeleton.
	picks, localPicks map[int]struct{}
	affinities        map[time.Duration]struct{}
	spare             spares
	// counts is how many elements of ours each set has, and skeleton a hash of the
	// handles of everything else, or 0, to notice what others do.
	counts   map[string]int
	skeleton uint64
	// digest is that of our content, as the kernel holds it too; zero if it holds none.
	digest uint64
}

func newLoaded(f *family, settings dataplane.Settings) *loaded {
	l := &loaded{family: f, beside: settings.IPVS != nil, sets: map[string]*nftables.Set{}, spare: spares{}, counts: map[string]int{},
		picks: map[int]struct{}{}, localPicks: map[int]struct{}{}, affinities: map[time.Duration]struct{}{}}
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
		set.Comment = spec.commentFor(settings)
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
		l.sets[spec.name] = set
	}
	chains := l.family.skeleton(settings)
	for _, spec := range chains {
		addChain(conn, table, spec)
	}
	for n := 1; n <= readyPicks && !l.beside; n++ {
		l.addPick(conn, n)
		l.addLocalPick(conn, n)
	}
	for _, spec := range chains {
		addRules(conn, table, spec)
	}
	return nil
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

func (l *loaded) addRegular(conn *nftables.Conn, name string, rules [][]expr.Any) {
	spec := chainSpec{name: name, rules: rules}
	addChain(conn, l.family.table(), spec)
	addRules(conn, l.family.table(), spec)
}

func (l *loaded) addPick(conn *nftables.Conn, n int) {
	if _, ok := l.picks[n]; !ok {
		l.addRegular(conn, pickChain(n), l.family.pickRules(n, endpoints))
		l.picks[n] = struct{}{}
	}
}

func (l *loaded) addLocalPick(conn *nftables.Conn, n int) {
	if _, ok := l.localPicks[n]; !ok {
		l.addRegular(conn, localPickChain(n), l.family.pickRules(n, localEndpoints))
		l.localPicks[n] = struct{}{}
	}
}

func (l *loaded) addAffinity(conn *nftables.Conn, timeout time.Duration) {
	if _, ok := l.affinities[timeout]; !ok {
		l.addRegular(conn, affinityChain(timeout), l.family.affinityRules(timeout, affinity, affinityEndpoints))
		l.addRegular(conn, localAffinityChain(timeout), l.family.affinityRules(timeout, localAffinity, localAffinityEndpoints))
		l.affinities[timeout] = struct{}{}
	}
}

// queueChains puts the chains that a batch needs into the transaction.
func (l *loaded) queueChains(tx *transaction, b *batch) {
	for _, n := range slices.Sorted(maps.Keys(b.picks)) {
		l.addPick(tx.library(), n)
	}
	for _, n := range slices.Sorted(maps.Keys(b.localPicks)) {
		l.addLocalPick(tx.library(), n)
	}
	for _, timeout := range slices.Sorted(maps.Keys(b.affinities)) {
		l.addAffinity(tx.library(), timeout)
	}
}

// queue puts a batch into the transaction: chains first, then its elements and the digest
// of what there is then.
func (l *loaded) queue(tx *transaction, b *batch) error {
	l.queueChains(tx, b)
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
