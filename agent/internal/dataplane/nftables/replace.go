package nftables

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
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
	begun := time.Now()
	next := p.family.whole(content)
	next.digest ^= settingsDigest(settings)
	if made := p.adoptWhole(settings, next); made != nil {
		p.loaded, p.known, p.begun = made, true, true
		p.remember()
		p.logger.Info("the kernel holds what it should already; nothing is changed", "family", p.family.name, "took", time.Since(begun))
		return nil
	}
	var made *loaded
	err := p.transact("replacing the nftables rules", func(tx *transaction) (err error) {
		made, err = p.queueWhole(tx, settings, content, next)
		return err
	})
	if err != nil {
		return err
	}
	p.loaded, p.known, p.distrusted, p.begun = made, true, false, true
	p.remember()
	p.logger.Debug("replaced the rules", "family", p.family.name, "took", time.Since(begun))
	return nil
}

// settingsDigest is the part of the content's digest that no element has.
func settingsDigest(settings dataplane.Settings) uint64 {
	return xxhash.Sum64String(fmt.Sprint(fingerprint(settings), settings.ServiceCIDRs))
}

// adoptWhole returns what the kernel holds if an earlier agent has left there exactly
// what is wanted, slot by slot; else nil.
func (p *Plane) adoptWhole(settings dataplane.Settings, next *batch) *loaded {
	if p.begun || p.distrusted {
		return nil
	}
	l := newLoaded(p.family)
	if has, err := p.hasTable(tableName); err != nil || !has || !p.adopt(l, settings) {
		return nil
	}
	if anchored, err := p.hasTable(anchorName); err != nil || !anchored {
		return nil
	}
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
	l.counts[serviceCIDRs] = found.counts[serviceCIDRs]
	if _, miscounted := l.miscounted(found.counts); miscounted {
		return nil
	}
	return l
}

// whole returns the family's elements of a content.
func (f *family) whole(content dataplane.Content) *batch {
	b := newBatch(f)
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
	return b
}

// queueWhole queues the whole content.
func (p *Plane) queueWhole(tx *transaction, settings dataplane.Settings, content dataplane.Content, next *batch) (*loaded, error) {
	l, adopted, err := p.prepare(tx, settings)
	if err != nil {
		return nil, err
	}
	if adopted {
		if err := p.queueForgetAllBut(tx, l, next); err != nil {
			return nil, err
		}
		if err := p.keepPickable(l, content, next); err != nil {
			return nil, err
		}
	}
	if err := tx.library().SetAddElements(l.sets[serviceCIDRs], p.family.cidrElements(settings.ServiceCIDRs)); err != nil {
		return nil, err
	}
	return l, l.queue(tx, next)
}

// prepare queues what makes the table an empty one with the right skeleton: by
// emptying its sets if it has that skeleton, which is to adopt it, else by making it
// anew.
func (p *Plane) prepare(tx *transaction, settings dataplane.Settings) (l *loaded, adopted bool, err error) {
	l = newLoaded(p.family)
	has, err := p.hasTable(tableName)
	if err != nil {
		return nil, false, err
	}
	if err := p.addAnchor(tx); err != nil {
		return nil, false, err
	}
	if has && !p.distrusted && p.adopt(l, settings) {
		for _, spec := range p.family.setSpecs() {
			if !spec.dynamic {
				tx.library().FlushSet(l.sets[spec.name])
			}
		}
		return l, true, nil
	}
	if has {
		tx.library().DelTable(p.family.table())
		l = newLoaded(p.family)
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
	keep := func(f *ruleset.Frontend, slots string, list []netip.AddrPort, were int) {
		for slot := len(list); len(list) > 0 && slot < were; slot++ {
			e := slotElement(slots, f.Key, slot, list[slot%len(list)])
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
	sets, err := p.conn.GetSets(l.family.table())
	if err != nil || len(sets) != len(l.sets) {
		return false
	}
	for _, set := range sets {
		if l.sets[set.Name] == nil {
			return false
		}
		if set.Name == clusterIPs && !strings.HasSuffix(set.Comment, fingerprint(settings)) {
			return false
		}
	}
	chains, err := p.conn.ListChainsOfTableFamily(l.family.number)
	if err != nil {
		return false
	}
	wanted := map[string]int{}
	for _, spec := range l.family.skeleton(settings) {
		wanted[spec.name] = len(spec.rules)
	}
	for _, chain := range chains {
		if chain.Table.Name != tableName {
			continue
		}
		rules, err := p.conn.GetRules(l.family.table(), chain)
		if err != nil || !l.learn(chain.Name, len(rules), wanted) {
			return false
		}
		delete(wanted, chain.Name)
	}
	return len(wanted) == 0
}

// learn notes a chain that exists. It returns false if the chain is not as we
// would have made it.
func (l *loaded) learn(name string, rules int, wanted map[string]int) bool {
	if want, ok := wanted[name]; ok {
		return rules == want
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "pick-")); err == nil {
		l.picks[n] = struct{}{}
		return rules == 1
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "local-pick-")); err == nil {
		l.localPicks[n] = struct{}{}
		return rules == 1
	}
	// Of an affinity there are two chains, made together.
	if timeout, err := time.ParseDuration(strings.TrimPrefix(strings.TrimPrefix(name, "local-"), "affinity-")); err == nil {
		l.affinities[timeout] = struct{}{}
		return rules == 2
	}
	return false
}
