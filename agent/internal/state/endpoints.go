package state

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// Endpoint is one address that serves.
type Endpoint struct {
	Addr        netip.Addr
	Terminating bool
	// Draining endpoints get no new connections and keep those that they have.
	Draining bool
	Weight   uint32
}

// Endpoints is an immutable list of endpoints. A node has ten or more of them for each
// Service, so they are packed: 5 bytes instead of 32 for one of IPv4 that is ready.
type Endpoints struct {
	packed string
}

// What precedes an address in the packed form; flags has them in this order.
const (
	isIPv6 = 1 << iota
	isTerminating
	isDraining
	// isWeighted says that a weight follows the address.
	isWeighted
)

// PackEndpoints returns a list of endpoints, whose addresses must be valid. Zones of
// addresses are left out.
func PackEndpoints(list ...Endpoint) Endpoints {
	var packed []byte
	for _, e := range list {
		packed = appendEndpoint(packed, e)
	}
	return Endpoints{string(packed)}
}

func appendEndpoint(packed []byte, e Endpoint) []byte {
	packed = append(packed, e.flags())
	if e.Addr.Is6() {
		addr := e.Addr.As16()
		packed = append(packed, addr[:]...)
	} else {
		addr := e.Addr.As4()
		packed = append(packed, addr[:]...)
	}
	if e.Weight > 0 {
		packed = binary.BigEndian.AppendUint32(packed, e.Weight)
	}
	return packed
}

func (e Endpoint) flags() byte {
	var flags byte
	for bit, set := range [...]bool{e.Addr.Is6(), e.Terminating, e.Draining, e.Weight > 0} {
		if set {
			flags |= 1 << bit
		}
	}
	return flags
}

// Len returns how many there are.
func (l Endpoints) Len() int {
	n := 0
	for range l.All() {
		n++
	}
	return n
}

// Weighted tells whether any of them has a weight.
func (l Endpoints) Weighted() bool {
	for e := range l.All() {
		if e.Weight > 0 {
			return true
		}
	}
	return false
}

// All yields the endpoints in their order.
func (l Endpoints) All() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		for rest := l.packed; rest != ""; {
			var e Endpoint
			if e, rest = cutEndpoint(rest); !yield(e) {
				return
			}
		}
	}
}

// cutEndpoint returns the first endpoint and the rest of a packed list.
func cutEndpoint(packed string) (Endpoint, string) {
	flags, rest := packed[0], packed[1:]
	e := Endpoint{Terminating: flags&isTerminating != 0, Draining: flags&isDraining != 0}
	if flags&isIPv6 != 0 {
		e.Addr, rest = netip.AddrFrom16([16]byte([]byte(rest[:16]))), rest[16:]
	} else {
		e.Addr, rest = netip.AddrFrom4([4]byte([]byte(rest[:4]))), rest[4:]
	}
	if flags&isWeighted != 0 {
		e.Weight, rest = binary.BigEndian.Uint32([]byte(rest[:4])), rest[4:]
	}
	return e, rest
}
