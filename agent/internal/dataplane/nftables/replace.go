package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// Replace makes the kernel hold exactly the content, as far as it is of the plane's
// family, in one transaction. A skeleton that is already right stays, and with it
// the memory of client affinity. A node without the family has nothing to hold.
func (p *Plane) Replace(_ context.Context, settings dataplane.Settings, content dataplane.Content) error {
	p.distrusted = p.distrusted || p.unfamiliar()
	p.known, p.loaded = false, nil
	if !p.Supported() {
		p.logger.Info("the node does not have the address family; its Services are not served", "family", p.family.name)
		p.known = true
		return nil
	}
	if p.Adopt(context.Background(), settings, content) {
		return nil
	}
	begun := time.Now()
	made, elements, err := p.replace(settings, content, false)
	if errors.Is(err, errDisturbed) {
		made, elements, err = p.replace(settings, content, true)
	}
	if err != nil {
		return err
	}
	p.loaded, p.known, p.distrusted, p.begun = made, true, false, true
	p.remember()
	p.logger.Debug("replaced the rules", "family", p.family.name, "elements", elements, "took", time.Since(begun))
	return nil
}

// Adopt implements dataplane.Dataplane.
func (p *Plane) Adopt(_ context.Context, settings dataplane.Settings, content dataplane.Content) bool {
	begun := time.Now()
	made := p.adoptWhole(settings, content)
	if made == nil {
		return false
	}
	p.loaded, p.known, p.begun = made, true, true
	p.remember()
	p.logger.Info("the rules that an earlier agent left are as they should be and stay", "family", p.family.name, "took", time.Since(begun))
	return true
}

// replace commits the content, by what differs from the kernel's if that is little and
// not unless everything is asked for. It returns how many elements it sent.
func (p *Plane) replace(settings dataplane.Settings, content dataplane.Content, everything bool) (made *loaded, elements int, err error) {
	err = p.transact("replacing the nftables rules", func(tx *transaction) (err error) {
		made, elements, err = p.queueWhole(tx, settings, content, everything)
		return err
	})
	return made, elements, err
}

// settingsDigest is the part of the content's digest that no element has.
func settingsDigest(settings dataplane.Settings) uint64 {
	return xxhash.Sum64String(fmt.Sprint(fingerprint(settings), settings.ServiceCIDRs))
}

// adoptWhole returns what the kernel holds if an earlier agent has left there exactly
// what is wanted, slot by slot; else nil.
func (p *Plane) adoptWhole(settings dataplane.Settings, content dataplane.Content) *loaded {
	if p.begun || p.distrusted {
		return nil
	}
	l := newLoaded(p.family, settings)
	if !p.adopt(l, settings) || !p.anchored() {
		return nil
	}
	next := newBatch(p.family)
	next.summary = true
	next.whole(settings, content)
	digests, err := p.conn.GetSetElements(l.sets[contentDigest])
	l.digest = max(1, next.digest)
	if err != nil || len(digests) != 1 || string(digests[0].Key) != digestElement(l.digest).key {
		return nil
	}
	for name, list := range next.added {
		l.counts[name] = list.count()
	}
	l.counts[contentDigest] = 1
	found, err := takeInventory(p.family)
	if err != nil {
		return nil
	}
	// The kernel counts ranges in its own way. One that counts nothing cannot tell what
	// others have done.
	l.counts[serviceCIDRs] = found.counts[serviceCIDRs]
	if _, miscounted := l.miscounted(found.counts); miscounted || len(found.counts) == 0 {
		return nil
	}
	if !p.holdsRanges(l.sets[serviceCIDRs], p.family.cidrElements(settings.ServiceCIDRs)) {
		return nil
	}
	return l
}

// holdsRanges tells whether a set of ranges has exactly the elements.
func (p *Plane) holdsRanges(set *nftables.Set, want []nftables.SetElement) bool {
	found, err := p.conn.GetSetElements(set)
	if err != nil {
		return false
	}
	ends := map[string]bool{}
	for _, e := range found {
		ends[string(e.Key)] = e.IntervalEnd
	}
	for _, e := range want {
		if end, ok := ends[string(e.Key)]; !ok || end != e.IntervalEnd {
			return false
		}
	}
	return len(found) == len(want)
}

// whole adds all that the kernel is to hold of the batch's family.
func (b *batch) whole(settings dataplane.Settings, content dataplane.Content) {
	f := b.family
	b.beside = settings.IPVS != nil
	for frontend := range content.Frontends() {
		if frontend.Addr.Is6() == f.is6 {
			b.all(frontend)
		}
	}
	for addr := range content.ClusterIPs() {
		if addr.Is6() == f.is6 {
			b.add(element{set: clusterIPs, key: string(addr.AsSlice())})
		}
	}
	for h := range content.Hairpins() {
		if h.Endpoint.Addr().Is6() == f.is6 {
			b.add(element{set: hairpin, key: hairpinKey(h)})
		}
	}
	if b.beside {
		for addr := range content.OutsideIPs() {
			if addr.Is6() == f.is6 {
				b.add(element{set: outsideIPs, key: string(addr.AsSlice())})
			}
		}
		for port := range content.CheckPorts() {
			b.add(element{set: checkPorts, key: portKey(port)})
		}
	}
	b.digest ^= settingsDigest(settings)
}

// queueWhole queues the whole content, or how the kernel's differs from it, and returns
// how many elements that is.
func (p *Plane) queueWhole(tx *transaction, settings dataplane.Settings, content dataplane.Content, everything bool) (*loaded, int, error) {
	if err := p.lookUp(); err != nil {
		return nil, 0, err
	}
	seen := p.generations.current
	l, adopted, err := p.prepare(tx, settings)
	if err != nil {
		return nil, 0, err
	}
	next, ranges := newBatch(p.family), p.family.cidrElements(settings.ServiceCIDRs)
	next.whole(settings, content)
	if adopted {
		if err := p.queueForgetAllBut(tx, l, next); err != nil {
			return nil, 0, err
		}
		if err := p.keepPickable(l, content, next); err != nil {
			return nil, 0, err
		}
		if !everything {
			d, err := p.queueDifference(tx, l, next, ranges)
			if d != nil || err != nil {
				tx.seen = seen
				return l, d.size(), err
			}
		}
		for _, spec := range p.family.sets {
			if !spec.dynamic {
				tx.library().FlushSet(l.sets[spec.name])
			}
		}
	}
	if err := tx.library().SetAddElements(l.sets[serviceCIDRs], ranges); err != nil {
		return nil, 0, err
	}
	return l, next.size(), l.queue(tx, next)
}

// queueDifference queues what makes the kernel's content the next one, and returns it. It
// returns nil, and has queued nothing, if that is better replaced or cannot be read.
func (p *Plane) queueDifference(tx *transaction, l *loaded, next *batch, ranges []nftables.SetElement) (*batch, error) {
	if next.size() > mostRead {
		return nil, nil
	}
	digest := max(1, next.digest)
	wanted := digestElement(digest)
	d, err := p.difference(l, next, wanted)
	if err != nil {
		p.logger.Debug("cannot compare with what the kernel holds", "family", p.family.name, "error", err)
		d = nil
	}
	if d == nil || float64(d.size()) > muchOf*float64(next.size()) {
		clear(l.counts)
		return nil, nil
	}
	l.digest = digest
	l.queueChains(tx, next)
	if !p.holdsRanges(l.sets[serviceCIDRs], ranges) {
		tx.library().FlushSet(l.sets[serviceCIDRs])
		if err := tx.library().SetAddElements(l.sets[serviceCIDRs], ranges); err != nil {
			return nil, err
		}
	}
	return d, l.queueElements(tx, d)
}

// prepare queues what makes the table one with the right skeleton, unless it has that
// skeleton, which is to adopt it with whatever is in its sets.
func (p *Plane) prepare(tx *transaction, settings dataplane.Settings) (l *loaded, adopted bool, err error) {
	l = newLoaded(p.family, settings)
	has, err := p.hasTable(tableName)
	if err != nil {
		return nil, false, err
	}
	if err := p.addAnchor(tx); err != nil {
		return nil, false, err
	}
	if has && !p.distrusted {
		if stale, ok := p.compareSkeleton(l, settings); ok {
			l.rewrite(tx.library(), stale)
			return l, true, nil
		}
	}
	if has {
		tx.library().DelTable(p.family.table())
		l = newLoaded(p.family, settings)
	}
	if err := l.addSkeleton(tx.library(), settings); err != nil {
		return nil, false, fmt.Errorf("encoding the %s skeleton: %w", p.family, err)
	}
	return l, false, nil
}

// keepPickable adds spare slots to the content, so that a packet which has read before
// the commit how many backends a frontend has finds each of them after it. (See
// slots; how many there were is asked of the kernel, since an earlier agent may have
// put them there.)
func (p *Plane) keepPickable(l *loaded, content dataplane.Content, next *batch) error {
	before := map[string]map[string]int{}
	for _, set := range []string{serviceIPs, localServiceIPs} {
		members, err := p.conn.GetSetElements(l.sets[set])
		if err != nil {
			return fmt.Errorf("listing the frontends that there are: %w", explain(err))
		}
		before[set] = make(map[string]int, len(members))
		for _, member := range members {
			before[set][string(member.Key)] = picked(member.Val)
		}
	}
	keep := func(f *ruleset.Frontend, slots string, list ruleset.Backends, were int) {
		for slot := list.Len(); list.Len() > 0 && slot < were; slot++ {
			e := slotElement(slots, f.Key, slot, list.At(slot%list.Len()))
			next.add(e)
			l.spare[e.id()] = leftover{element: e}
		}
	}
	for f := range content.Frontends() {
		if f.Addr.Is6() == p.family.is6 {
			k := frontendKey(f.Key)
			keep(f, endpoints, f.Backends, before[serviceIPs][k])
			keep(f, localEndpoints, f.LocalBackends, before[localServiceIPs][k])
		}
	}
	return nil
}

// picked returns the number in the name of the pick chain that a verdict, as the kernel
// gives it back, goes to; zero if it goes elsewhere.
func picked(verdict []byte) int {
	chain := strings.TrimRight(string(attribute(verdict, unix.NFTA_VERDICT_CHAIN)), "\x00")
	n, err := strconv.Atoi(chain[strings.LastIndexByte(chain, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}

// adopt tells whether the family's table has the skeleton that the settings ask
// for, and learns which chains it has.
func (p *Plane) adopt(l *loaded, settings dataplane.Settings) bool {
	stale, ok := p.compareSkeleton(l, settings)
	return ok && len(stale) == 0
}

// compareSkeleton tells whether the family's table has the sets and chains of the skeleton
// that the settings ask for, and returns the chains whose rules are others, which is so
// after the settings have changed. It learns which chains there are.
func (p *Plane) compareSkeleton(l *loaded, settings dataplane.Settings) (stale []chainSpec, ok bool) {
	sets, err := p.conn.GetSets(l.family.table())
	if err != nil || len(sets) != len(l.sets) {
		return nil, false
	}
	for _, set := range sets {
		spec, ok := l.family.specs[set.Name]
		if !ok || set.Comment != spec.commentFor(settings) {
			return nil, false
		}
	}
	return p.compareChains(tableName, l.family.skeleton(settings), l.learn)
}

// rewrite queues other rules for chains that stay. The kernel reads which rules a packet
// meets once for each hook, so each sees the old or the new ones. Were the table made anew,
// a packet could meet its new chains before, and its old maps after the commit.
func (l *loaded) rewrite(conn *nftables.Conn, stale []chainSpec) {
	for _, spec := range stale {
		conn.FlushChain(&nftables.Chain{Name: spec.name, Table: l.family.table()})
		addRules(conn, l.family.table(), spec)
	}
}

// hasChains tells whether a table is in force and has the chains as we make them, and
// besides them such only as more tells how we make.
func (p *Plane) hasChains(table string, specs []chainSpec, more func(name string) (chainSpec, bool)) bool {
	stale, ok := p.compareChains(table, specs, more)
	return ok && len(stale) == 0
}

// compareChains is hasChains but for the rules in the chains: it returns those whose rules
// are others.
func (p *Plane) compareChains(table string, specs []chainSpec, more func(name string) (chainSpec, bool)) (stale []chainSpec, ok bool) {
	tables, err := p.conn.ListTablesOfFamily(p.family.number)
	if err != nil || !slices.ContainsFunc(tables, func(t *nftables.Table) bool {
		return t.Name == table && t.Flags&nftables.TableFlagDormant == 0
	}) {
		return nil, false
	}
	chains, err := p.conn.ListChainsOfTableFamily(p.family.number)
	if err != nil {
		return nil, false
	}
	wanted := map[string]chainSpec{}
	for _, spec := range specs {
		wanted[spec.name] = spec
	}
	for _, chain := range chains {
		if chain.Table.Name != table {
			continue
		}
		spec, ok := wanted[chain.Name]
		if !ok {
			spec, ok = more(chain.Name)
		}
		rules, err := p.conn.GetRules(&nftables.Table{Family: p.family.number, Name: table}, chain)
		if err != nil || !ok || !spec.hooked(chain) {
			return nil, false
		}
		if !areMarked(rules, marksOf(p.family.number, spec.rules)) {
			spec.name = chain.Name
			stale = append(stale, spec)
		}
		delete(wanted, chain.Name)
	}
	return stale, len(wanted) == 0
}

// hooked tells whether a chain that exists is where the spec has it.
func (s chainSpec) hooked(chain *nftables.Chain) bool {
	if !s.base {
		return chain.Hooknum == nil
	}
	return chain.Hooknum != nil && *chain.Hooknum == *s.hook && chain.Type == s.kind &&
		chain.Priority != nil && *chain.Priority == s.priority &&
		chain.Policy != nil && *chain.Policy == nftables.ChainPolicyAccept
}

// learn notes a chain that exists beyond the skeleton, and returns how we make it. It
// returns false if we make none of the name.
func (l *loaded) learn(name string) (chainSpec, bool) {
	number := func(prefix string) (int, bool) {
		text, ok := strings.CutPrefix(name, prefix)
		n, err := strconv.Atoi(text)
		return n, ok && err == nil
	}
	timeout := func(prefix string) (time.Duration, bool) {
		text, ok := strings.CutPrefix(name, prefix)
		d, err := time.ParseDuration(text)
		return d, ok && err == nil
	}
	if n, ok := number("pick-"); ok {
		l.picks[n] = struct{}{}
		return chainSpec{rules: l.family.pickRules(n, endpoints)}, true
	}
	if n, ok := number("local-pick-"); ok {
		l.localPicks[n] = struct{}{}
		return chainSpec{rules: l.family.pickRules(n, localEndpoints)}, true
	}
	// Of an affinity there are two chains, made together.
	if d, ok := timeout("affinity-"); ok {
		l.affinities[d] = struct{}{}
		return chainSpec{rules: l.family.affinityRules(d, affinity, affinityEndpoints)}, true
	}
	if d, ok := timeout("local-affinity-"); ok {
		return chainSpec{rules: l.family.affinityRules(d, localAffinity, localAffinityEndpoints)}, true
	}
	return chainSpec{}, false
}
