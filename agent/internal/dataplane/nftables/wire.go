package nftables

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The wire form of netlink messages (linux/netlink.h, linux/netfilter/nfnetlink.h):
// headers in host order, nf_tables' numbers big-endian, everything padded to 4 bytes.
const (
	headerLen    = unix.SizeofNlMsghdr
	nfgenmsgLen  = 4
	attributeLen = unix.SizeofNlAttr
	// flagsOffset and sequenceOffset are where a header has them.
	flagsOffset    = 6
	sequenceOffset = 8
)

// nfBatchGenID is NFNL_BATCH_GENID of linux/netfilter/nfnetlink.h.
const nfBatchGenID = 1

// nftaSetElemKeyEnd is NFTA_SET_ELEM_KEY_END, and nftMsgDestroySetElem
// NFT_MSG_DESTROYSETELEM, of linux/netfilter/nf_tables.h.
const (
	nftaSetElemKeyEnd    = 10
	nftMsgDestroySetElem = 30
)

// appendHeader begins a message, whose length endMessage sets. Sequence numbers are
// given when a transaction is sent.
func appendHeader(b []byte, kind, flags uint16, family uint8, resource uint16) []byte {
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint16(append(b, family, unix.NFNETLINK_V0), resource)
}

// endMessage sets the length of the message that begins at an offset and ends with b.
func endMessage(b []byte, begin int) {
	binary.NativeEndian.PutUint32(b[begin:], uint32(len(b)-begin))
}

func appendAttribute[T octets](b []byte, kind uint16, value T) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attributeLen+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return pad(append(b, value...))
}

func appendText(b []byte, kind uint16, text string) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attributeLen+len(text)+1))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return pad(append(append(b, text...), 0))
}

// beginNested begins an attribute of attributes, whose length endNested sets.
func beginNested(b []byte, kind uint16) ([]byte, int) {
	begin := len(b)
	b = binary.NativeEndian.AppendUint16(b, 0)
	return binary.NativeEndian.AppendUint16(b, kind|unix.NLA_F_NESTED), begin
}

func endNested(b []byte, begin int) {
	binary.NativeEndian.PutUint16(b[begin:], uint16(len(b)-begin))
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
