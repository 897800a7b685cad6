package ruleset

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Draw is how a slot is drawn for a connection.
type Draw uint8

const (
	// Random draws any, with equal chances.
	Random Draw = iota
	// InTurn draws one after the other.
	InTurn
	// ByAddress draws the same for all connections of a client's address.
	ByAddress
	// ByAddressAndPort draws the same for those of a client's address and port.
	ByAddressAndPort
)

// Choice is how a data plane chooses that has no schedulers of its own: it draws one of the
// slots. A backend may have several of them, or none.
type Choice struct {
	Draw  Draw
	Slots Backends
}

// Names of schedulers, as IPVS has them (net/netfilter/ipvs/ip_vs_*.c).
const (
	roundRobin         = "rr"
	weightedRoundRobin = "wrr"
	leastConnections   = "lc"
	sourceHash         = "sh"
	destinationHash    = "dh"
	maglevHash         = "mh"
	failover           = "fo"
)

// Choose returns how to choose among the backends of a frontend. The empty scheduler
// chooses at random, by weight, and so do those that need to know connections
// (resource.NeedsConnections), if they heed weights. What a hash chooses depends on the backends and their
// weights alone, so that it is the same on every node.
func Choose(scheduler string, key Key, backends Backends, weights Weights) Choice {
	c := Choice{Slots: backends}
	if backends.Len() == 0 {
		return c
	}
	switch scheduler {
	case roundRobin:
		c.Draw = InTurn
	case weightedRoundRobin:
		c.Draw, c.Slots = InTurn, repeated(backends, weights)
	case sourceHash:
		c.Draw, c.Slots = ByAddress, maglev(backends, weights)
	case maglevHash:
		c.Draw, c.Slots = ByAddressAndPort, maglev(backends, weights)
	case destinationHash:
		c.Slots = PackBackends(ofDestination(key, backends))
	case failover:
		c.Slots = PackBackends(heaviest(backends, weights))
	case leastConnections: // As if all had the same.
	default:
		c.Slots = repeated(backends, weights)
	}
	return c
}

// mostRepeated is how many slots a list with weights has at most, unless it has as many
// backends: what is then in proportion is so to a thousandth of all connections.
const mostRepeated = 1024

// repeated gives each backend as many slots as its weight says: all have their first
// before any has its second.
func repeated(backends Backends, weights Weights) Backends {
	if weights.Plain() {
		return backends
	}
	shares := proportions(weights, backends.Len())
	var list []netip.AddrPort
	for round := range slices.Max(shares) {
		for slot, share := range shares {
			if share > round {
				list = append(list, backends.At(slot))
			}
		}
	}
	return PackBackends(list...)
}

// proportions returns the weights of n slots as small numbers of the same proportions, or
// of nearly the same where these are too large. None is zero.
func proportions(weights Weights, n int) []int {
	divisor, sum := 0, 0
	for slot := range n {
		divisor = greatestDivisor(divisor, weights.At(slot))
		sum += weights.At(slot)
	}
	most := max(mostRepeated, n)
	list := make([]int, n)
	for slot := range n {
		list[slot] = weights.At(slot) / divisor
		if sum/divisor > most {
			list[slot] = max(1, weights.At(slot)*most/sum)
		}
	}
	return list
}

func greatestDivisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// tables are the sizes of hash tables, which are prime, each up to how many backends it is
// used for: with more, the shares would differ by more than a tenth. Another size gives
// most clients another backend, so there are few.
var tables = []struct{ backends, slots int }{{25, 251}, {100, 1021}, {400, 4093}, {0, 16381}}

func tableSize(backends int) int {
	for _, t := range tables {
		if backends <= t.backends {
			return t.slots
		}
	}
	return tables[len(tables)-1].slots
}

// maglev gives each backend about as many slots as its weight says, so that most slots stay
// the same when others come and go: each takes in turn the next free slot of an order of
// its own (Eisenbud et al., Maglev, NSDI 2016, section 3.4).
func maglev(backends Backends, weights Weights) Backends {
	type taker struct {
		backend      netip.AddrPort
		weight, turn int
		next, step   int
	}
	size, heaviest := tableSize(backends.Len()), 0
	takers := make([]taker, backends.Len())
	for slot, backend := range backends.All() {
		first := hashOf(backend, 1)
		takers[slot] = taker{backend: backend, weight: weights.At(slot),
			next: int(first % uint64(size)), step: int(hashOf(backend, 2)%uint64(size-1)) + 1}
		heaviest = max(heaviest, weights.At(slot))
	}
	// The slots that backends had do not matter, or nodes would differ.
	slices.SortFunc(takers, func(a, b taker) int { return a.backend.Compare(b.backend) })
	table := make([]netip.AddrPort, size)
	for left := size; left > 0; {
		for i := range takers {
			t := &takers[i]
			if t.turn += t.weight; t.turn < heaviest || left == 0 {
				continue
			}
			t.turn -= heaviest
			for table[t.next].IsValid() {
				t.next = (t.next + t.step) % size
			}
			table[t.next] = t.backend
			left--
		}
	}
	return PackBackends(table...)
}

// ofDestination returns the backend that a frontend's address chooses: that with the
// largest hash of both, so that it stays the same while others come and go.
func ofDestination(key Key, backends Backends) netip.AddrPort {
	addr := key.Addr.As16()
	return largest(backends, func(_ int, backend netip.AddrPort) uint64 {
		return hashOf(backend, binary.BigEndian.Uint64(addr[:8])^binary.BigEndian.Uint64(addr[8:]))
	})
}

// heaviest returns the backend of the largest weight, of several the first by address.
func heaviest(backends Backends, weights Weights) netip.AddrPort {
	return largest(backends, func(slot int, _ netip.AddrPort) uint64 { return uint64(weights.At(slot)) })
}

func largest(backends Backends, of func(slot int, backend netip.AddrPort) uint64) netip.AddrPort {
	var best netip.AddrPort
	var most uint64
	for slot, backend := range backends.All() {
		switch n := of(slot, backend); {
		case !best.IsValid(), n > most, n == most && backend.Compare(best) < 0:
			best, most = backend, n
		}
	}
	return best
}

// hashOf returns a hash of a backend that is the same everywhere.
func hashOf(backend netip.AddrPort, seed uint64) uint64 {
	var text [8 + 16 + 2]byte
	addr := backend.Addr().As16()
	binary.BigEndian.PutUint64(text[:], seed)
	copy(text[8:], addr[:])
	binary.BigEndian.PutUint16(text[24:], backend.Port())
	return xxhash.Sum64(text[:])
}
