package nftables

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// element is one member of a set or map. Its strings hold the kernel's bytes.
type element struct {
	set string
	key string
	// keyEnd is the last key of a range.
	keyEnd string
	// value is the data of a data map, or the verdict of a verdict map: a chain to
	// go to, or the text drop.
	value string
}

// dropVerdict is the value of an element that drops; no chain has that name.
const dropVerdict = "drop"

// id identifies an element within a family.
func (e element) id() elementID { return elementID{e.set, e.key, e.keyEnd} }

type elementID struct{ set, key, keyEnd string }

// chosen is how the backends of a frontend are chosen, and those on this node.
type chosen struct {
	cluster, local ruleset.Choice
}

// choose returns the choices of a frontend, which may be nil.
func choose(f *ruleset.Frontend) chosen {
	if f == nil {
		return chosen{}
	}
	return chosen{
		cluster: ruleset.Choose(f.Scheduler, f.Key, f.Backends, f.Weights),
		local:   ruleset.Choose(f.Scheduler, f.Key, f.LocalBackends, f.LocalWeights),
	}
}

// fixedElements returns the elements of a frontend that are not slots.
func fixedElements(f *ruleset.Frontend, by chosen) []element {
	if f == nil {
		return nil
	}
	k := frontendKey(f.Key)
	var list []element
	add := func(set, value string) { list = append(list, element{set: set, key: k, value: value}) }
	if f.Elsewhere {
		add(servedIPs, "")
	}
	if by.cluster.Slots.Len() > 0 {
		add(serviceIPs, drawChain(f.Key, by.cluster))
	}
	if f.Local {
		add(localIPs, "")
		if by.local.Slots.Len() > 0 {
			add(localServiceIPs, localPrefix+drawChain(f.Key, by.local))
		}
	}
	switch f.Unserved {
	case ruleset.Served:
	case ruleset.Reject:
		add(noEndpointIPs, rejectChain)
	case ruleset.Drop:
		add(noEndpointIPs, dropVerdict)
	}
	if f.Masquerade {
		add(masqueradeIPs, "")
	}
	if f.Filtered {
		add(firewallIPs, "")
		for _, prefix := range f.Allow {
			list = append(list, element{set: firewallAllow,
				key:    string(appendAddr(appendFrontend(nil, f.Key), prefix.Addr())),
				keyEnd: string(appendAddr(appendFrontend(nil, f.Key), lastAddr(prefix)))})
		}
	}
	return append(list, affinityElements(f, k)...)
}

func affinityElements(f *ruleset.Frontend, k string) []element {
	if f.Affinity == 0 || f.Backends.Len() == 0 {
		return nil
	}
	list := []element{
		{set: affinityIPs, key: k},
		{set: affinityTimeouts, key: k, value: affinityChain(f.Affinity)},
	}
	// Who comes by local-traffic is remembered there as well.
	seen := make(map[netip.AddrPort]struct{}, f.Backends.Len())
	for _, backend := range slices.Concat(f.Backends.List(), f.LocalBackends.List()) {
		if _, ok := seen[backend]; !ok {
			seen[backend] = struct{}{}
			list = append(list, element{set: affinityEndpoints, key: k + backendValue(backend)})
		}
	}
	if !f.Local || f.LocalBackends.Len() == 0 {
		return list
	}
	list = append(list, element{set: localAffinityTimeouts, key: k, value: localPrefix + affinityChain(f.Affinity)})
	for _, backend := range f.LocalBackends.All() {
		list = append(list, element{set: localAffinityEndpoints, key: k + backendValue(backend)})
	}
	return list
}

// slotElement returns the element of one slot.
func slotElement(set string, k ruleset.Key, slot int, backend netip.AddrPort) element {
	return element{set: set, key: string(appendSlot(appendFrontend(nil, k), slot)), value: backendValue(backend)}
}

// batch gathers the element changes of one transaction of one family.
type batch struct {
	family *family
	// beside is set if IPVS balances.
	beside         bool
	added, deleted map[string]*elementList
	// digest is by how much the digest of the family's content moves.
	digest uint64
	// chains are those beyond the skeleton that the added elements go to, left those that
	// the deleted ones went to.
	chains, left map[string]struct{}
	// sticky are the added elements of what clients may stick to, by set and key.
	sticky map[string]map[string]struct{}
	// summary batches only count what is added, and have its digest: encoded, a whole
	// content is much.
	summary bool
}

func newBatch(f *family) *batch {
	return &batch{
		family: f, added: map[string]*elementList{}, deleted: map[string]*elementList{},
		chains: map[string]struct{}{}, left: map[string]struct{}{}, sticky: map[string]map[string]struct{}{},
	}
}

func (b *batch) add(e element) {
	addElement(b, e.set, e.key, e.keyEnd, e.value)
	if e.set == affinityEndpoints || e.set == localAffinityEndpoints {
		b.stick(e)
	}
	if b.goesBeyond(e) {
		b.chains[e.value] = struct{}{}
	}
}

// goesBeyond tells whether an element goes to a chain beyond the skeleton.
func (b *batch) goesBeyond(e element) bool {
	return b.family.specs[e.set].verdict && e.value != dropVerdict && e.value != rejectChain
}

func (b *batch) stick(e element) {
	keys := b.sticky[e.set]
	if keys == nil {
		keys = map[string]struct{}{}
		b.sticky[e.set] = keys
	}
	keys[e.key] = struct{}{}
}

// addSlot adds what slotElement returns, of which a whole content has so many that it is
// encoded without being made.
func (b *batch) addSlot(set string, k ruleset.Key, slot int, backend netip.AddrPort) {
	var key, value [32]byte
	addElement(b, set, appendSlot(appendFrontend(key[:0], k), slot), nil, appendBackend(value[:0], backend))
}

func addElement[T octets](b *batch, set string, key, keyEnd, value T) {
	list := b.list(b.added, unix.NFT_MSG_NEWSETELEM, set)
	b.digest ^= hashElement(set, key, keyEnd, value)
	if b.summary {
		list.len++
		return
	}
	encodeElement(list, key, keyEnd, value)
}

func (b *batch) delete(e element) {
	b.list(b.deleted, unix.NFT_MSG_DELSETELEM, e.set).add(e)
	b.digest ^= e.hash()
	if b.goesBeyond(e) {
		b.left[e.value] = struct{}{}
	}
}

func (b *batch) list(of map[string]*elementList, message uint16, set string) *elementList {
	l := of[set]
	if l == nil {
		l = &elementList{message: message, family: b.family, set: b.family.specs[set]}
		of[set] = l
	}
	return l
}

// empty tells whether no element changes.
func (b *batch) empty() bool { return len(b.added) == 0 && len(b.deleted) == 0 }

// spares are elements in the kernel that no frontend asks for: slots that a packet
// in flight may still pick.
type spares map[elementID]leftover

// leftover is a spare slot; old is set once a Collect has seen it.
type leftover struct {
	element
	old bool
}

// change adds what makes a frontend's old elements its new ones.
func (b *batch) change(c ruleset.Change, spare spares) {
	old, next := choose(c.Old), choose(c.New)
	b.replace(fixedElements(c.Old, old), fixedElements(c.New, next))
	gone := c.New == nil
	b.slots(endpoints, c.Key(), old.cluster.Slots.List(), next.cluster.Slots.List(), gone, spare)
	b.slots(localEndpoints, c.Key(), old.local.Slots.List(), next.local.Slots.List(), gone || !c.New.Local, spare)
}

func orEmpty(f *ruleset.Frontend) *ruleset.Frontend {
	if f == nil {
		return &ruleset.Frontend{}
	}
	return f
}

// replace turns one list of elements into another.
func (b *batch) replace(old, next []element) {
	before := make(map[elementID]element, len(old))
	for _, e := range old {
		before[e.id()] = e
	}
	for _, e := range next {
		was, ok := before[e.id()]
		delete(before, e.id())
		if ok && was == e {
			continue
		}
		if ok {
			b.delete(was)
		}
		b.add(e)
	}
	for _, id := range slices.SortedFunc(maps.Keys(before), compareIDs) {
		b.delete(before[id])
	}
}

func compareIDs(a, b elementID) int {
	return cmp.Or(strings.Compare(a.set, b.set), strings.Compare(a.key, b.key), strings.Compare(a.keyEnd, b.keyEnd))
}

// slots turns one list of slots into another without taking away a slot that the
// generation before can pick. gone means that the frontend, or this use of it, is
// no more; its slots then go on serving packets in flight. If it is there but has
// no backend, its slots go at once: nothing may be sent to the old ones.
func (b *batch) slots(set string, k ruleset.Key, old, next []netip.AddrPort, gone bool, spare spares) {
	for slot, backend := range next {
		e := slotElement(set, k, slot, backend)
		left, inKernel := spare[e.id()]
		was := left.element
		delete(spare, e.id())
		if slot < len(old) {
			was, inKernel = slotElement(set, k, slot, old[slot]), true
		}
		b.put(e, was, inKernel)
	}
	for slot := len(next); slot < len(old); slot++ {
		was := slotElement(set, k, slot, old[slot])
		switch {
		case gone:
			spare[was.id()] = leftover{element: was}
		case len(next) == 0:
			b.delete(was)
		case slices.Contains(next, old[slot]):
			spare[was.id()] = leftover{element: was}
		default:
			e := slotElement(set, k, slot, next[slot%len(next)])
			b.put(e, was, true)
			spare[e.id()] = leftover{element: e}
		}
	}
	if !gone {
		b.respare(set, k, max(len(old), len(next)), next, spare)
	}
}

// respare keeps spare slots beyond both lists, left by an earlier change, pointing
// to valid backends.
func (b *batch) respare(set string, k ruleset.Key, from int, next []netip.AddrPort, spare spares) {
	for slot := from; ; slot++ {
		was, ok := spare[slotElement(set, k, slot, netip.AddrPort{}).id()]
		if !ok {
			return
		}
		if len(next) == 0 {
			b.delete(was.element)
			delete(spare, was.id())
			continue
		}
		e := slotElement(set, k, slot, next[slot%len(next)])
		b.put(e, was.element, true)
		spare[e.id()] = leftover{element: e}
	}
}

// put makes the kernel hold e where it holds was, if anything.
func (b *batch) put(e, was element, inKernel bool) {
	if inKernel && was == e {
		return
	}
	if inKernel {
		b.delete(was)
	}
	b.add(e)
}

// all adds every element of a frontend.
func (b *batch) all(f *ruleset.Frontend) {
	by := choose(f)
	for _, e := range fixedElements(f, by) {
		b.add(e)
	}
	for slot, backend := range by.cluster.Slots.All() {
		b.addSlot(endpoints, f.Key, slot, backend)
	}
	for slot, backend := range by.local.Slots.All() {
		b.addSlot(localEndpoints, f.Key, slot, backend)
	}
}
