package nftables

import (
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers are the 4-byte ones, from 8 (NFT_REG32_00). A frontend takes the
// first of them; what is concatenated to it follows.
const firstRegister = unix.NFT_REG32_00

// addrRegisters is how many registers an address takes.
func (f *family) addrRegisters() uint32 { return f.addrLen / 4 }

// afterFrontend is the register after a frontend.
func (f *family) afterFrontend() uint32 { return firstRegister + f.addrRegisters() + 2 }

func (f *family) saddr(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: f.saddrOffset, Len: f.addrLen}
}

func (f *family) daddr(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: f.daddrOffset, Len: f.addrLen}
}

func dport(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

func sport(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2}
}

func l4proto(register uint32) expr.Any {
	return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}
}

// frontend loads K, the packet's destination.
func (f *family) frontend() []expr.Any {
	n := f.addrRegisters()
	return []expr.Any{f.daddr(firstRegister), l4proto(firstRegister + n), dport(firstRegister + n + 1)}
}

// originalFrontend loads K as it was before DNAT.
func (f *family) originalFrontend() []expr.Any {
	n := f.addrRegisters()
	return []expr.Any{
		&expr.Ct{Register: firstRegister, Key: f.ctDaddr, Direction: expr.CtDirOriginal},
		l4proto(firstRegister + n),
		&expr.Ct{Register: firstRegister + n + 1, Key: expr.CtKeyPROTODST, Direction: expr.CtDirOriginal},
	}
}

// backend loads the packet's destination after DNAT.
func (f *family) backend(register uint32) []expr.Any {
	return []expr.Any{f.daddr(register), dport(register + f.addrRegisters())}
}

// in matches if the key in the first registers is in a set.
func in(set string) expr.Any { return &expr.Lookup{SourceRegister: firstRegister, SetName: set} }

func notIn(set string) expr.Any {
	return &expr.Lookup{SourceRegister: firstRegister, SetName: set, Invert: true}
}

// vmap goes where a verdict map says.
func vmap(set string) expr.Any {
	return &expr.Lookup{SourceRegister: firstRegister, SetName: set, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
}

// dnatTo changes the destination to what a map has for the key in the first
// registers; without an entry the rule does not match.
func (f *family) dnatTo(set string) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: firstRegister, SetName: set, DestRegister: firstRegister, IsDestRegSet: true},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: f.nfproto(),
			RegAddrMin: firstRegister, RegProtoMin: firstRegister + f.addrRegisters(),
		},
	}
}

func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

func word(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

// orMark sets bits of the packet mark and leaves the others.
func orMark(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(^bits), Xor: word(bits)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// clearMark clears bits of the packet mark that are known to be set.
func clearMark(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(0xffffffff), Xor: word(bits)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// markIs matches packets that have any of the bits.
func markIs(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(bits), Xor: word(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: word(0)},
	}
}

// ctBits matches packets whose conntrack state or status has the bit.
func ctBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(bits), Xor: word(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: word(0)},
	}
}

// ipsDstNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
const ipsDstNAT = 1 << 5

func isNew() []expr.Any    { return ctBits(expr.CtKeySTATE, expr.CtStateBitNEW) }
func isDNATed() []expr.Any { return ctBits(expr.CtKeySTATUS, ipsDstNAT) }

// sourceIn compares the source address with a prefix.
func (f *family) sourceIn(op expr.CmpOp, p netip.Prefix) []expr.Any {
	list := []expr.Any{f.saddr(1)}
	if p.Bits() < p.Addr().BitLen() {
		list = append(list, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.addrLen,
			Mask: f.prefixMask(p.Bits()), Xor: make([]byte, f.addrLen)})
	}
	return append(list, &expr.Cmp{Op: op, Register: 1, Data: p.Addr().AsSlice()})
}

// sourceIsLocal matches if the source is an address of this node.
func sourceIsLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagSADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: word(unix.RTN_LOCAL)},
	}
}

// masquerade translates the source to an address of the outgoing interface, with
// a random port.
func masquerade() expr.Any { return &expr.Masq{FullyRandom: true} }

func rule(parts ...[]expr.Any) []expr.Any {
	var list []expr.Any
	for _, part := range parts {
		list = append(list, part...)
	}
	return list
}

func one(e expr.Any) []expr.Any { return []expr.Any{e} }
