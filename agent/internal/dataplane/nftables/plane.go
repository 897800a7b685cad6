package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// Plane is the nftables data plane of the network namespace that the process is
// in. It belongs to one goroutine.
type Plane struct {
	logger   hclog.Logger
	conn     *nftables.Conn
	families []*loaded
	// destroys is set if the kernel can delete elements that may be missing.
	destroys bool
	// known is false until a Replace has succeeded, and after an error: then the
	// kernel's content is not known well enough for Apply.
	known bool
	// undisturbed is the generation of nf_tables as of which the kernel holds what
	// we put there; each transaction of ours raises both by one, unless it is empty:
	// queued counts what is in it.
	undisturbed uint32
	queued      int
	// distrusted is set if somebody changed more than elements: then Replace makes
	// the tables anew.
	distrusted bool
}

var _ dataplane.Dataplane = (*Plane)(nil)

// Open connects to the kernel. It changes nothing.
func Open(logger hclog.Logger) (*Plane, error) {
	p := &Plane{logger: logger, destroys: canDestroy()}
	if err := p.connect(); err != nil {
		return nil, err
	}
	if _, err := p.conn.ListTablesOfFamily(nftables.TableFamilyIPv4); err != nil {
		return nil, errors.Join(fmt.Errorf("listing nf_tables tables: %w", explainListing(err)), p.Close())
	}
	return p, nil
}

// explainListing explains an error of the simplest request there is: nfnetlink
// answers it with EINVAL if it has no nf_tables to pass it on to.
func explainListing(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %s", err, wantNFTables)
	}
	return explain(err)
}

const wantNFTables = "expected a kernel with nf_tables (CONFIG_NF_TABLES, modprobe nf_tables)"

func (p *Plane) connect() error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("opening a netlink socket to nf_tables: %w", explain(err))
	}
	p.conn = conn
	return nil
}

// transact commits what queue puts into the connection, in one transaction. After
// an error the connection is made anew: the library would send what is queued
// with the next transaction, and may not have read all of the kernel's answer.
func (p *Plane) transact(doing string, queue func() error) error {
	p.queued = 0
	err := queue()
	if err == nil {
		if err = p.conn.Flush(); err == nil {
			if p.queued > 0 {
				p.undisturbed++
			}
			return nil
		}
	}
	p.known = false
	_ = p.conn.CloseLasting()
	return errors.Join(fmt.Errorf("%s: %w", doing, explain(err)), p.connect())
}

// explain says what an operator can do about an error of the kernel.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: expected CAP_NET_ADMIN in this network namespace (run as root, or grant the capability)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: %s", err, wantNFTables)
	default:
		return err
	}
}

// Close releases the netlink socket. The rules stay.
func (p *Plane) Close() error { return p.conn.CloseLasting() }

// Exists tells whether there is a table of ours.
func (p *Plane) Exists(context.Context) (bool, error) {
	for _, f := range []*family{ipv4, ipv6} {
		has, err := p.hasTable(f, tableName)
		if has || err != nil {
			return has, err
		}
	}
	return false, nil
}

func (p *Plane) hasTable(f *family, name string) (bool, error) {
	tables, err := p.conn.ListTablesOfFamily(f.number)
	if err != nil {
		return false, fmt.Errorf("listing %s tables: %w", f, explain(err))
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), nil
}

// Replace makes the kernel hold exactly the content, in one transaction for both
// families. A skeleton that is already right stays, and with it the memory of
// client affinity.
func (p *Plane) Replace(_ context.Context, settings dataplane.Settings, content dataplane.Content) error {
	p.distrusted = p.distrusted || p.unfamiliar()
	p.known, p.families = false, nil
	begun := time.Now()
	batches := map[bool]*batch{false: newBatch(), true: newBatch()}
	for f := range content.Frontends() {
		batches[f.Addr.Is6()].all(f)
	}
	for addr := range content.ClusterIPs() {
		batches[addr.Is6()].add(element{set: clusterIPs, key: string(addr.AsSlice())})
	}
	for h := range content.Hairpins() {
		batches[h.Endpoint.Addr().Is6()].add(element{set: hairpin, key: hairpinKey(h)})
	}
	var families []*loaded
	err := p.transact("replacing the nftables rules", func() error {
		for _, f := range p.supported() {
			l, err := p.queueWhole(f, settings, batches[f.is6])
			if err != nil {
				return err
			}
			families = append(families, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.families, p.known, p.distrusted = families, true, false
	p.remember()
	p.logger.Debug("replaced the rules", "took", time.Since(begun))
	return nil
}

// queueWhole queues a family's whole content.
func (p *Plane) queueWhole(f *family, settings dataplane.Settings, content *batch) (*loaded, error) {
	l, err := p.prepare(f, settings, content)
	if err != nil {
		return nil, err
	}
	if err := p.conn.SetAddElements(l.sets[serviceCIDRs], f.cidrElements(settings.ServiceCIDRs)); err != nil {
		return nil, err
	}
	return l, p.queue(l, content)
}

// supported returns the families that the node has.
func (p *Plane) supported() []*family {
	if hasIPv6() {
		return []*family{ipv4, ipv6}
	}
	return []*family{ipv4}
}

// prepare queues what makes a family's table an empty one with the right
// skeleton: by emptying its sets if it has that skeleton, else by making it anew.
func (p *Plane) prepare(f *family, settings dataplane.Settings, next *batch) (*loaded, error) {
	l := newLoaded(f)
	has, err := p.hasTable(f, tableName)
	if err != nil {
		return nil, err
	}
	if err := p.addAnchor(f); err != nil {
		return nil, err
	}
	if has && !p.distrusted && p.adopt(l, settings) {
		for _, spec := range f.setSpecs() {
			if !spec.dynamic {
				p.conn.FlushSet(l.sets[spec.name])
			}
		}
		return l, p.queueForgetAllBut(l, next)
	}
	if has {
		p.conn.DelTable(f.table())
		l = newLoaded(f)
	}
	if err := l.addSkeleton(p.conn, settings); err != nil {
		return nil, fmt.Errorf("encoding the %s skeleton: %w", f, err)
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
	if timeout, err := time.ParseDuration(strings.TrimPrefix(name, "affinity-")); err == nil {
		l.affinities[timeout] = struct{}{}
		return rules == 2
	}
	return false
}

// Apply makes a change to what the last Replace and Applys left, in one
// transaction. After an error only Replace helps.
func (p *Plane) Apply(_ context.Context, changes *ruleset.Changes) error {
	if !p.known {
		return errors.New("the kernel's content is not known: expected a Replace first")
	}
	chains := p.chains()
	err := p.change(changes)
	if err == nil && p.chains() != chains {
		p.remember()
	}
	return err
}

// chains counts those that exist beyond the skeleton.
func (p *Plane) chains() int {
	n := 0
	for _, l := range p.families {
		n += len(l.picks) + len(l.localPicks) + len(l.affinities)
	}
	return n
}

func (p *Plane) change(changes *ruleset.Changes) error {
	return p.transact("changing the nftables rules", func() error {
		for _, l := range p.families {
			b := newBatch()
			for _, change := range changes.Frontends {
				if change.Key().Addr.Is6() == l.family.is6 {
					b.change(change, l.spare)
				}
			}
			b.members(changes, l.family.is6)
			if err := p.queueChange(l, b, changes); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *Plane) queue(l *loaded, b *batch) error {
	for _, set := range l.family.setSpecs() {
		p.queued += len(b.added[set.name]) + len(b.deleted[set.name])
	}
	return l.queue(p.conn, b)
}

// queueChange queues a batch and, with it, what it makes of remembered clients.
func (p *Plane) queueChange(l *loaded, b *batch, changes *ruleset.Changes) error {
	if err := p.queue(l, b); err != nil {
		return err
	}
	return p.queueForgotten(l, l.forgotten(changes.Frontends))
}

// members adds the changes of the sets that do not belong to one frontend.
func (b *batch) members(changes *ruleset.Changes, is6 bool) {
	address := func(do func(element), list []netip.Addr) {
		for _, addr := range list {
			if addr.Is6() == is6 {
				do(element{set: clusterIPs, key: string(addr.AsSlice())})
			}
		}
	}
	endpoint := func(do func(element), list []ruleset.Hairpin) {
		for _, h := range list {
			if h.Endpoint.Addr().Is6() == is6 {
				do(element{set: hairpin, key: hairpinKey(h)})
			}
		}
	}
	address(b.delete, changes.RemovedClusterIPs)
	address(b.add, changes.AddedClusterIPs)
	endpoint(b.delete, changes.RemovedHairpins)
	endpoint(b.add, changes.AddedHairpins)
}

// Pending tells whether there are spare slots.
func (p *Plane) Pending() bool {
	return p.known && slices.ContainsFunc(p.families, func(l *loaded) bool { return len(l.spare) > 0 })
}

// Collect removes the spare slots that were there at the Collect before. Leave so
// much time between two that no packet can be under way any more that was looked
// up before the first: a second is ample. Changes in between do not matter, so
// that slots are also collected under changes without end.
func (p *Plane) Collect(context.Context) (bool, error) {
	if !p.Pending() {
		return false, nil
	}
	removed := false
	err := p.transact("removing spare slots", func() error {
		for _, l := range p.families {
			b := newBatch()
			for id, left := range l.spare {
				if left.old {
					b.delete(left.element)
					delete(l.spare, id)
					removed = true
					continue
				}
				left.old = true
				l.spare[id] = left
			}
			if err := p.queue(l, b); err != nil {
				return err
			}
		}
		return nil
	})
	return removed && err == nil, err
}

// Cleanup removes our tables, the anchor last.
func (p *Plane) Cleanup(context.Context) error {
	p.known, p.families = false, nil
	return p.transact("removing the nftables tables", func() error {
		for _, name := range []string{tableName, anchorName} {
			for _, f := range []*family{ipv4, ipv6} {
				has, err := p.hasTable(f, name)
				if err != nil {
					return err
				}
				if has {
					p.conn.DelTable(&nftables.Table{Family: f.number, Name: name})
				}
			}
		}
		return nil
	})
}
