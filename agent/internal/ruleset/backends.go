package ruleset

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// Backends is an immutable list of backends, by slot. A node has ten or more of them for
// each Service, so they are packed: 6 bytes instead of 32 for one of IPv4. Equal lists are
// equal as values.
type Backends struct {
	// packed is entries of one length, after a byte that says which.
	packed string
}

// Lengths of a packed entry. In the second, a byte that says whether the address is one of
// IPv4 comes before it.
const (
	entryLen4   = 4 + 2
	entryLenAny = 1 + 16 + 2
)

// PackBackends returns a list of backends. Zones of addresses are left out.
func PackBackends(list ...netip.AddrPort) Backends {
	if len(list) == 0 {
		return Backends{}
	}
	is4 := func(b netip.AddrPort) bool { return b.Addr().Is4() }
	packed := make([]byte, 0, 1024) // Enough for most; then it is not on the heap.
	if !slices.ContainsFunc(list, func(b netip.AddrPort) bool { return !is4(b) }) {
		packed = append(packed, entryLen4)
		for _, b := range list {
			addr := b.Addr().As4()
			packed = binary.BigEndian.AppendUint16(append(packed, addr[:]...), b.Port())
		}
		return Backends{string(packed)}
	}
	packed = append(packed, entryLenAny)
	for _, b := range list {
		family, addr := byte(6), b.Addr().As16()
		if is4(b) {
			family = 4
		}
		packed = binary.BigEndian.AppendUint16(append(append(packed, family), addr[:]...), b.Port())
	}
	return Backends{string(packed)}
}

// Len returns how many there are.
func (b Backends) Len() int {
	if b.packed == "" {
		return 0
	}
	return (len(b.packed) - 1) / int(b.packed[0])
}

// At returns the backend of a slot.
func (b Backends) At(slot int) netip.AddrPort {
	length := int(b.packed[0])
	entry := b.packed[1+slot*length:][:length]
	port := binary.BigEndian.Uint16([]byte(entry[length-2:]))
	if length == entryLen4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte([]byte(entry[:4]))), port)
	}
	addr := netip.AddrFrom16([16]byte([]byte(entry[1:17])))
	if entry[0] == 4 {
		addr = addr.Unmap()
	}
	return netip.AddrPortFrom(addr, port)
}

// All yields the slots and their backends.
func (b Backends) All() iter.Seq2[int, netip.AddrPort] {
	return func(yield func(int, netip.AddrPort) bool) {
		for slot := range b.Len() {
			if !yield(slot, b.At(slot)) {
				return
			}
		}
	}
}

// String lists them.
func (b Backends) String() string { return fmt.Sprint(b.List()) }

// List returns them unpacked; nil if there are none.
func (b Backends) List() []netip.AddrPort {
	if b.Len() == 0 {
		return nil
	}
	list := make([]netip.AddrPort, b.Len())
	for slot, backend := range b.All() {
		list[slot] = backend
	}
	return list
}
