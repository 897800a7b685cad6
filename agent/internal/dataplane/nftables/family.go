package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// tableName is the name of our table in both families; anchorName that of the
// table that keeps the kernel's hooks registered while ours is replaced.
const (
	tableName  = "portolan"
	anchorName = "portolan-anchor"
)

// family is what differs between IPv4 and IPv6.
type family struct {
	name        dataplane.Family
	is6         bool
	number      nftables.TableFamily
	addrType    nftables.SetDatatype
	addrLen     uint32
	saddrOffset uint32
	daddrOffset uint32
	ctDaddr     expr.CtKey
	// sets are those of the skeleton in the order in which they are filled, and specs
	// the same by name.
	sets  []setSpec
	specs map[string]*setSpec
}

var (
	ipv4 = &family{
		name: dataplane.IPv4, number: nftables.TableFamilyIPv4, addrType: nftables.TypeIPAddr, addrLen: 4,
		saddrOffset: 12, daddrOffset: 16, ctDaddr: expr.CtKeyDSTIP,
	}
	ipv6 = &family{
		name: dataplane.IPv6, is6: true, number: nftables.TableFamilyIPv6, addrType: nftables.TypeIP6Addr, addrLen: 16,
		saddrOffset: 8, daddrOffset: 24, ctDaddr: expr.CtKeyDSTIP6,
	}
)

var families = map[dataplane.Family]*family{dataplane.IPv4: ipv4.complete(), dataplane.IPv6: ipv6.complete()}

func (f *family) complete() *family {
	f.sets, f.specs = f.makeSets(), map[string]*setSpec{}
	for i := range f.sets {
		f.specs[f.sets[i].name] = &f.sets[i]
	}
	return f
}

// String returns the family's name in nft.
func (f *family) String() string {
	if f.is6 {
		return "ip6"
	}
	return "ip"
}

// frontendLen is how many bytes a frontend's key has.
func (f *family) frontendLen() int { return int(f.addrLen) + 8 }

func (f *family) table() *nftables.Table {
	return &nftables.Table{Family: f.number, Name: tableName}
}

// Keys are laid out as the kernel's registers are: each field padded to 4 bytes,
// addresses and ports big-endian, the slot in host order.

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		bytes := a.As4()
		return append(b, bytes[:]...)
	}
	if !a.IsValid() {
		return b
	}
	bytes := a.As16()
	return append(b, bytes[:]...)
}

func appendPort(b []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(b, port), 0, 0)
}

func appendFrontend(b []byte, k ruleset.Key) []byte {
	b = append(appendAddr(b, k.Addr), byte(k.Protocol), 0, 0, 0)
	return appendPort(b, k.Port)
}

func appendSlot(b []byte, slot int) []byte { return binary.NativeEndian.AppendUint32(b, uint32(slot)) }

func appendBackend(b []byte, backend netip.AddrPort) []byte {
	return appendPort(appendAddr(b, backend.Addr()), backend.Port())
}

// portKey is the key of a set of ports, which are padded in concatenations only.
func portKey(port uint16) string { return string(binary.BigEndian.AppendUint16(nil, port)) }

func frontendKey(k ruleset.Key) string { return string(appendFrontend(nil, k)) }

func backendValue(backend netip.AddrPort) string { return string(appendBackend(nil, backend)) }

func hairpinKey(h ruleset.Hairpin) string {
	addr := h.Endpoint.Addr()
	b := appendAddr(appendAddr(nil, addr), addr)
	b = append(b, byte(h.Protocol), 0, 0, 0)
	return string(appendPort(b, h.Endpoint.Port()))
}

// lastAddr returns the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// prefixMask returns a prefix length as a bit mask of an address.
func (f *family) prefixMask(bits int) []byte {
	mask := make([]byte, f.addrLen)
	for bit := range bits {
		mask[bit/8] |= 1 << (7 - bit%8)
	}
	return mask
}

func (f *family) nfproto() uint32 {
	if f.is6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// parseFrontend is the inverse of appendFrontend.
func parseFrontend(f *family, key []byte) ruleset.Key {
	addr, _ := netip.AddrFromSlice(key[:f.addrLen])
	rest := key[f.addrLen:]
	return ruleset.Key{Addr: addr, Protocol: state.Protocol(rest[0]), Port: binary.BigEndian.Uint16(rest[4:])}
}
