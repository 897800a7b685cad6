package admission

import "net/netip"

// index finds the objects that use an address. Nearly every address has one user,
// which costs one map entry; only further users cost a set.
type index[T comparable] struct {
	first map[netip.Addr]T
	more  map[netip.Addr]map[T]struct{}
}

func newIndex[T comparable]() index[T] {
	return index[T]{first: map[netip.Addr]T{}, more: map[netip.Addr]map[T]struct{}{}}
}

// add records a use; a second time changes nothing.
func (x *index[T]) add(addr netip.Addr, user T) {
	first, used := x.first[addr]
	switch {
	case !used:
		x.first[addr] = user
	case first == user:
	case x.more[addr] == nil:
		x.more[addr] = map[T]struct{}{user: {}}
	default:
		x.more[addr][user] = struct{}{}
	}
}

// remove forgets a use.
func (x *index[T]) remove(addr netip.Addr, user T) {
	first, used := x.first[addr]
	switch {
	case !used:
		return
	case first != user:
		delete(x.more[addr], user)
	default:
		delete(x.first, addr)
		for next := range x.more[addr] {
			x.first[addr] = next
			delete(x.more[addr], next)
			break
		}
	}
	if len(x.more[addr]) == 0 {
		delete(x.more, addr)
	}
}

// each calls fn for every user of the address.
func (x *index[T]) each(addr netip.Addr, fn func(T)) {
	if first, used := x.first[addr]; used {
		fn(first)
	}
	for user := range x.more[addr] {
		fn(user)
	}
}
