package nftables

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
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
	var made *loaded
	err := p.transact("replacing the nftables rules", func() (err error) {
		made, err = p.queueWhole(settings, next)
		return err
	})
	if err != nil {
		return err
	}
	p.loaded, p.known, p.distrusted = made, true, false
	p.remember()
	p.logger.Debug("replaced the rules", "family", p.family.name, "took", time.Since(begun))
	return nil
}

// whole returns the family's elements of a content.
func (f *family) whole(content dataplane.Content) *batch {
	b := newBatch()
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
func (p *Plane) queueWhole(settings dataplane.Settings, content *batch) (*loaded, error) {
	l, err := p.prepare(settings, content)
	if err != nil {
		return nil, err
	}
	if err := p.conn.SetAddElements(l.sets[serviceCIDRs], p.family.cidrElements(settings.ServiceCIDRs)); err != nil {
		return nil, err
	}
	return l, p.queue(l, content)
}

// prepare queues what makes the table an empty one with the right skeleton: by
// emptying its sets if it has that skeleton, else by making it anew.
func (p *Plane) prepare(settings dataplane.Settings, next *batch) (*loaded, error) {
	l := newLoaded(p.family)
	has, err := p.hasTable(tableName)
	if err != nil {
		return nil, err
	}
	if err := p.addAnchor(); err != nil {
		return nil, err
	}
	if has && !p.distrusted && p.adopt(l, settings) {
		for _, spec := range p.family.setSpecs() {
			if !spec.dynamic {
				p.conn.FlushSet(l.sets[spec.name])
			}
		}
		return l, p.queueForgetAllBut(l, next)
	}
	if has {
		p.conn.DelTable(p.family.table())
		l = newLoaded(p.family)
	}
	if err := l.addSkeleton(p.conn, settings); err != nil {
		return nil, fmt.Errorf("encoding the %s skeleton: %w", p.family, err)
	}
	return l, nil
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
