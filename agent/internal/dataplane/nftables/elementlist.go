package nftables

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

const (
	// maxElements bounds the elements of one message: the length of an attribute has 16
	// bits.
	maxElements = 60 << 10
	// bufferLen is about how much is encoded into one buffer.
	bufferLen = 1 << 18
)

// elementList is elements of one set in the form in which they are sent: messages of one
// kind, in buffers that are never copied. A small list is one small buffer.
type elementList struct {
	message uint16
	family  *family
	set     *setSpec
	// full are buffers that are complete; buffer is the one that is being filled.
	full   [][]byte
	buffer []byte
	// begin and list are where the open message and its list begin; no message is open
	// while list is zero.
	begin, list int
	len         int
}

// add encodes an element. Deleting needs its key alone.
func (l *elementList) add(e element) { encodeElement(l, e.key, e.keyEnd, e.value) }

// octets are the kernel's bytes, in memory of their own or in what is used again.
type octets interface{ string | []byte }

func encodeElement[T octets](l *elementList, key, keyEnd, value T) {
	if l.list != 0 && len(l.buffer)-l.list > maxElements {
		l.end()
	}
	if l.list == 0 {
		l.open()
	}
	b, begin := beginNested(l.buffer, unix.NFTA_LIST_ELEM)
	b = appendData(b, unix.NFTA_SET_ELEM_KEY, key)
	if len(keyEnd) > 0 {
		b = appendData(b, nftaSetElemKeyEnd, keyEnd)
	}
	switch {
	case l.set.verdict:
		b = l.set.appendVerdict(b, string(value))
	case l.set.value != nil && l.message != nftMsgDestroySetElem:
		b = appendData(b, unix.NFTA_SET_ELEM_DATA, value)
	}
	endNested(b, begin)
	l.buffer = b
	l.len++
}

func (l *elementList) open() {
	if len(l.buffer) > bufferLen-maxElements {
		l.full = append(l.full, l.buffer)
		l.buffer = make([]byte, 0, bufferLen+maxElements)
	}
	flags := uint16(unix.NLM_F_REQUEST)
	if l.message == unix.NFT_MSG_NEWSETELEM {
		flags |= unix.NLM_F_CREATE
	}
	l.begin = len(l.buffer)
	b := appendHeader(l.buffer, unix.NFNL_SUBSYS_NFTABLES<<8|l.message, flags, uint8(l.family.number), 0)
	b = appendText(b, unix.NFTA_SET_ELEM_LIST_SET, l.set.name)
	b = appendText(b, unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	l.buffer, l.list = beginNested(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
}

func (l *elementList) end() {
	endNested(l.buffer, l.list)
	endMessage(l.buffer, l.begin)
	l.list = 0
}

// count is how many elements there are; nil has none.
func (l *elementList) count() int {
	if l == nil {
		return 0
	}
	return l.len
}

// messages returns the whole list. Nothing may be added after that.
func (l *elementList) messages() [][]byte {
	if l.list != 0 {
		l.end()
	}
	return append(l.full, l.buffer)
}

func appendData[T octets](b []byte, kind uint16, value T) []byte {
	b, begin := beginNested(b, kind)
	b = appendAttribute(b, unix.NFTA_DATA_VALUE, value)
	endNested(b, begin)
	return b
}

// verdictCode returns the code of a verdict in its wire form.
func (s setSpec) verdictCode(value string) string {
	const nfDrop = 0
	code := int32(unix.NFT_GOTO)
	switch {
	case value == dropVerdict:
		code = nfDrop
	case s.name == affinityTimeouts || s.name == localAffinityTimeouts:
		code = unix.NFT_JUMP
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(code)))
}

func (s setSpec) appendVerdict(b []byte, value string) []byte {
	b, data := beginNested(b, unix.NFTA_SET_ELEM_DATA)
	b, verdict := beginNested(b, unix.NFTA_DATA_VERDICT)
	b = appendAttribute(b, unix.NFTA_VERDICT_CODE, s.verdictCode(value))
	if value != dropVerdict {
		b = appendText(b, unix.NFTA_VERDICT_CHAIN, value)
	}
	endNested(b, verdict)
	endNested(b, data)
	return b
}

// hash is an element's part of the digest of a family's content.
func (e element) hash() uint64 { return hashElement(e.set, e.key, e.keyEnd, e.value) }

func hashElement[T octets](set string, key, keyEnd, value T) uint64 {
	var enough [128]byte // For what there is; then no memory is allocated.
	b := append(append(enough[:0], set...), 0)
	b = append(append(b, key...), 0)
	b = append(append(b, keyEnd...), 0)
	b = append(append(b, value...), 0)
	return xxhash.Sum64(b)
}
