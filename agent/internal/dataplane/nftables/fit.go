package nftables

import (
	"slices"

	"github.com/google/nftables"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// The rules of chains that stay are replaced, and chains come and go beside those: the kernel
// reads which rules a packet meets once for each hook, so each packet sees the old or the new
// ones. Were the table made anew, a packet could meet its old chains after the commit, when
// its old maps are empty.

// fit is how the chains of a table differ from those that are asked for.
type fit struct {
	// stale have other rules; missing are not there.
	stale, missing []chainSpec
	// surplus are those that other settings ask for.
	surplus []chainSpec
}

// exact tells whether they do not differ.
func (f fit) exact() bool { return len(f.stale)+len(f.missing)+len(f.surplus) == 0 }

// switches tells whether other chains are asked for.
func (f fit) switches() bool { return len(f.missing)+len(f.surplus) > 0 }

// differences lists them.
func (f fit) differences() []dataplane.Difference {
	var list []dataplane.Difference
	for _, c := range f.missing {
		list = append(list, dataplane.Difference{Place: "chain " + c.name, Wanted: "a chain"})
	}
	for _, c := range f.stale {
		list = append(list, dataplane.Difference{Place: "chain " + c.name, Wanted: "our rules", Found: "others"})
	}
	for _, c := range f.surplus {
		list = append(list, dataplane.Difference{Place: "chain " + c.name, Found: "a chain"})
	}
	return list
}

// inOrder splits what is to be done into what is first and what is after it. While nftables
// begins to translate in IPVS's place, guard must let through what came by before: only a
// packet that is seen afterwards is translated before it meets guard.
func (f fit) inOrder() (now, later fit) {
	early := func(c chainSpec) bool { return c.name == earlyGuardChain }
	if !slices.ContainsFunc(f.surplus, early) {
		return f, fit{}
	}
	isGuard := func(c chainSpec) bool {
		return c.name == guardChain || c.name == earlyGuardChain || c.name == outsideChain
	}
	split := func(list []chainSpec) (first, last []chainSpec) {
		for _, c := range list {
			if isGuard(c) {
				last = append(last, c)
			} else {
				first = append(first, c)
			}
		}
		return first, last
	}
	now.missing = f.missing
	now.stale, later.stale = split(f.stale)
	now.surplus, later.surplus = split(f.surplus)
	return now, later
}

// queue queues what makes the chains those that are asked for.
func (f fit) queue(conn *nftables.Conn, of *family) {
	for _, spec := range f.missing {
		addChain(conn, of.table(), spec)
	}
	for _, spec := range f.missing {
		addRules(conn, of.table(), spec)
	}
	for _, spec := range f.stale {
		conn.FlushChain(&nftables.Chain{Name: spec.name, Table: of.table()})
		addRules(conn, of.table(), spec)
	}
	// What calls others goes before them.
	for _, spec := range slices.Backward(f.surplus) {
		conn.DelChain(&nftables.Chain{Name: spec.name, Table: of.table()})
	}
}

// compareChains tells whether a table is in force and has only chains as we make them, and
// how these differ from what is wanted: there may be those of others, and such as more tells
// how we make.
func (p *Plane) compareChains(table string, wanted, others []chainSpec, more func(name string) (chainSpec, bool)) (found fit, ok bool) {
	tables, err := p.conn.ListTablesOfFamily(p.family.number)
	if err != nil || !slices.ContainsFunc(tables, func(t *nftables.Table) bool {
		return t.Name == table && t.Flags&nftables.TableFlagDormant == 0
	}) {
		return fit{}, false
	}
	chains, err := p.conn.ListChainsOfTableFamily(p.family.number)
	if err != nil {
		return fit{}, false
	}
	there := map[string]*nftables.Chain{}
	for _, chain := range chains {
		if chain.Table.Name == table {
			there[chain.Name] = chain
		}
	}
	take := func(spec chainSpec) (isStale, ok bool) {
		chain := there[spec.name]
		delete(there, spec.name)
		rules, err := p.conn.GetRules(&nftables.Table{Family: p.family.number, Name: table}, chain)
		return err == nil && !areMarked(rules, marksOf(p.family.number, spec.rules)), err == nil && spec.hooked(chain)
	}
	for _, spec := range wanted {
		if there[spec.name] == nil {
			found.missing = append(found.missing, spec)
			continue
		}
		switch isStale, ok := take(spec); {
		case !ok:
			return fit{}, false
		case isStale:
			found.stale = append(found.stale, spec)
		}
	}
	for _, spec := range others {
		if chain := there[spec.name]; chain != nil {
			if !spec.hooked(chain) {
				return fit{}, false
			}
			delete(there, spec.name)
			found.surplus = append(found.surplus, spec)
		}
	}
	for name := range there {
		spec, ok := more(name)
		if !ok {
			return fit{}, false
		}
		switch isStale, ok := take(spec); {
		case !ok:
			return fit{}, false
		case isStale:
			found.stale = append(found.stale, spec)
		}
	}
	return found, true
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
