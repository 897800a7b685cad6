package ruleset

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// Table is everything the node's kernel must do. It belongs to one goroutine.
type Table struct {
	env      Environment
	services map[string]*rules
	// owner has, for each key, the frontend in force; waiting those of other
	// Services that claim the key too, in order of precedence.
	owner      map[Key]*Frontend
	waiting    map[Key][]*Frontend
	clusterIPs counted[netip.Addr]
	outsideIPs counted[netip.Addr]
	checkPorts counted[uint16]
	hairpins   counted[Hairpin]
	checks     perService[HealthCheck]
	localhost  perService[LocalhostPort]
	budget     budget
	noLocal    byFamily
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{
		services:   map[string]*rules{},
		owner:      map[Key]*Frontend{},
		waiting:    map[Key][]*Frontend{},
		clusterIPs: counted[netip.Addr]{},
		outsideIPs: counted[netip.Addr]{},
		checkPorts: counted[uint16]{},
		hairpins:   counted[Hairpin]{},
		checks:     perService[HealthCheck]{},
		localhost:  perService[LocalhostPort]{},
		budget:     budget{excess: map[string]int{}},
	}
}

// Changes is the difference between two contents of a table.
type Changes struct {
	Frontends []Change
	// Moved are frontends that another Service has now, and that are the same to the kernel.
	Moved                              []Change
	AddedClusterIPs, RemovedClusterIPs []netip.Addr
	AddedOutsideIPs, RemovedOutsideIPs []netip.Addr
	AddedHairpins, RemovedHairpins     []Hairpin
	// AddedCheckPorts and RemovedCheckPorts are health-check node ports.
	AddedCheckPorts, RemovedCheckPorts []uint16
	// HealthChecks and LocalhostPorts are set if any changed. They are no business of
	// the kernel's.
	HealthChecks, LocalhostPorts bool
}

// Change is a frontend before and after; nil where it was not or is no more.
type Change struct {
	Old, New *Frontend
}

// Key returns the frontend's key.
func (c Change) Key() Key {
	if c.New != nil {
		return c.New.Key
	}
	return c.Old.Key
}

// Empty tells whether nothing changed in the kernel.
func (c *Changes) Empty() bool {
	return len(c.Frontends) == 0 && len(c.AddedClusterIPs) == 0 && len(c.RemovedClusterIPs) == 0 &&
		len(c.AddedOutsideIPs) == 0 && len(c.RemovedOutsideIPs) == 0 &&
		len(c.AddedHairpins) == 0 && len(c.RemovedHairpins) == 0 &&
		len(c.AddedCheckPorts) == 0 && len(c.RemovedCheckPorts) == 0
}

// Len returns how many frontends of a family changed.
func (c *Changes) Len(is6 bool) int {
	n := 0
	for _, change := range c.Frontends {
		if change.Key().Addr.Is6() == is6 {
			n++
		}
	}
	return n
}

// Touch tells whether anything of a family changed in the kernel.
func (c *Changes) Touch(is6 bool) bool {
	ofFamily := func(addr netip.Addr) bool { return addr.Is6() == is6 }
	hairpinOfFamily := func(h Hairpin) bool { return ofFamily(h.Endpoint.Addr()) }
	return slices.ContainsFunc(c.Frontends, func(change Change) bool { return ofFamily(change.Key().Addr) }) ||
		slices.ContainsFunc(c.AddedClusterIPs, ofFamily) || slices.ContainsFunc(c.RemovedClusterIPs, ofFamily) ||
		slices.ContainsFunc(c.AddedOutsideIPs, ofFamily) || slices.ContainsFunc(c.RemovedOutsideIPs, ofFamily) ||
		len(c.AddedCheckPorts) > 0 || len(c.RemovedCheckPorts) > 0 ||
		slices.ContainsFunc(c.AddedHairpins, hairpinOfFamily) || slices.ContainsFunc(c.RemovedHairpins, hairpinOfFamily)
}

// SetEnvironment sets what the node itself adds. It returns false if that is what
// was set before; otherwise every Service must be updated.
func (t *Table) SetEnvironment(env Environment) bool {
	if t.env.equal(env) {
		return false
	}
	t.env = env
	return true
}

// Services yields the names of all Services that have rules.
func (t *Table) Services() iter.Seq[string] { return maps.Keys(t.services) }

// Update recomputes the named Services, and those that were beyond a limit before,
// and returns what changed. Other Services are not looked at.
func (t *Table) Update(names iter.Seq[string], view func(name string) View) Changes {
	before := map[Key]*Frontend{}
	var clusterIPs, outsideIPs tally[netip.Addr]
	var checkPorts tally[uint16]
	var hairpins tally[Hairpin]
	var changes Changes
	for name := range t.withExcess(names) {
		old, v := t.services[name], view(name)
		next := build(v, t.env, old)
		if !t.afford(name, old, next) {
			continue
		}
		changes.HealthChecks = t.checks.set(name, healthChecks(v, t.env)) || changes.HealthChecks
		changes.LocalhostPorts = t.localhost.set(name, localhostPorts(v.Service, t.env)) || changes.LocalhostPorts
		if old != nil {
			t.withdraw(old, before)
			clusterIPs.remove(t.clusterIPs, old.clusterIPs)
			outsideIPs.remove(t.outsideIPs, old.outsideIPs)
			checkPorts.remove(t.checkPorts, old.checkPorts)
			hairpins.remove(t.hairpins, old.hairpins)
		}
		for _, f := range next.frontends {
			t.claim(f, before)
		}
		clusterIPs.add(t.clusterIPs, next.clusterIPs)
		outsideIPs.add(t.outsideIPs, next.outsideIPs)
		checkPorts.add(t.checkPorts, next.checkPorts)
		hairpins.add(t.hairpins, next.hairpins)
		t.noLocal.replace(old, next)
		if len(next.clusterIPs) == 0 {
			delete(t.services, name)
		} else {
			t.services[name] = next
		}
	}
	for key, old := range before {
		if now := t.owner[key]; !old.Same(now) {
			changes.Frontends = append(changes.Frontends, Change{old, now})
		} else if old != nil && old.Service != now.Service {
			changes.Moved = append(changes.Moved, Change{old, now})
		}
	}
	changes.AddedClusterIPs, changes.RemovedClusterIPs = clusterIPs.changes(t.clusterIPs)
	changes.AddedOutsideIPs, changes.RemovedOutsideIPs = outsideIPs.changes(t.outsideIPs)
	changes.AddedCheckPorts, changes.RemovedCheckPorts = checkPorts.changes(t.checkPorts)
	changes.AddedHairpins, changes.RemovedHairpins = hairpins.changes(t.hairpins)
	return changes
}

// note remembers who owned a key before the update.
func (t *Table) note(key Key, before map[Key]*Frontend) {
	if _, ok := before[key]; !ok {
		before[key] = t.owner[key]
	}
}

func (t *Table) withdraw(old *rules, before map[Key]*Frontend) {
	for _, f := range old.frontends {
		t.note(f.Key, before)
		if t.owner[f.Key] != f {
			t.setWaiting(f.Key, slices.DeleteFunc(t.waiting[f.Key], func(w *Frontend) bool { return w == f }))
			continue
		}
		delete(t.owner, f.Key)
		if queue := t.waiting[f.Key]; len(queue) > 0 {
			t.owner[f.Key] = queue[0]
			t.setWaiting(f.Key, queue[1:])
		}
	}
}

func (t *Table) claim(f *Frontend, before map[Key]*Frontend) {
	t.note(f.Key, before)
	owner := t.owner[f.Key]
	if owner == nil {
		t.owner[f.Key] = f
		return
	}
	loser := f
	if f.claim().Compare(owner.claim()) < 0 {
		t.owner[f.Key], loser = f, owner
	}
	queue := append(slices.Clone(t.waiting[f.Key]), loser)
	slices.SortFunc(queue, func(a, b *Frontend) int { return a.claim().Compare(b.claim()) })
	t.setWaiting(f.Key, queue)
}

func (t *Table) setWaiting(key Key, queue []*Frontend) {
	if len(queue) == 0 {
		delete(t.waiting, key)
		return
	}
	t.waiting[key] = queue
}

// Frontends yields every frontend in force.
func (t *Table) Frontends() iter.Seq[*Frontend] { return maps.Values(t.owner) }

// Frontend returns the frontend in force for a key, or nil.
func (t *Table) Frontend(key Key) *Frontend { return t.owner[key] }

// HasHairpin tells whether an endpoint is on this node.
func (t *Table) HasHairpin(h Hairpin) bool { return t.hairpins[h] > 0 }

// Len returns how many frontends are in force.
func (t *Table) Len() int { return len(t.owner) }

// LenOf returns how many frontends of a family are in force.
func (t *Table) LenOf(is6 bool) int {
	n := 0
	for key := range t.owner {
		if key.Addr.Is6() == is6 {
			n++
		}
	}
	return n
}

// ClusterIPs yields every ClusterIP that a Service owns.
func (t *Table) ClusterIPs() iter.Seq[netip.Addr] { return maps.Keys(t.clusterIPs) }

// OutsideIPs yields every load-balancer and external IP that a Service has.
func (t *Table) OutsideIPs() iter.Seq[netip.Addr] { return maps.Keys(t.outsideIPs) }

// CheckPorts yields every health-check node port.
func (t *Table) CheckPorts() iter.Seq[uint16] { return maps.Keys(t.checkPorts) }

// Hairpins yields every endpoint on this node.
func (t *Table) Hairpins() iter.Seq[Hairpin] { return maps.Keys(t.hairpins) }

// Conflicts yields the frontends that are not in force because another Service
// has their key.
func (t *Table) Conflicts() iter.Seq2[Key, []*Frontend] { return maps.All(t.waiting) }
