// Package netlinkwire takes apart what the kernel writes to netlink sockets (linux/netlink.h):
// headers in host order, everything padded to 4 bytes. What makes no sense ends it.
package netlinkwire

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

const attributeLen = unix.SizeofNlAttr

// Messages yields the messages in a buffer, each with its header.
func Messages(buffer []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(buffer) >= unix.SizeofNlMsghdr {
			length := int(binary.NativeEndian.Uint32(buffer))
			if length < unix.SizeofNlMsghdr || length > len(buffer) || !yield(buffer[:length]) {
				return
			}
			buffer = buffer[min(aligned(length), len(buffer)):]
		}
	}
}

// Attributes yields the kind, without flags, and the value of each attribute in a buffer.
func Attributes(buffer []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(buffer) >= attributeLen {
			length := int(binary.NativeEndian.Uint16(buffer))
			kind := binary.NativeEndian.Uint16(buffer[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if length < attributeLen || length > len(buffer) || !yield(kind, buffer[attributeLen:length]) {
				return
			}
			buffer = buffer[min(aligned(length), len(buffer)):]
		}
	}
}

func aligned(length int) int { return (length + 3) &^ 3 }

// Type returns the type of a message.
func Type(message []byte) uint16 { return binary.NativeEndian.Uint16(message[4:]) }

// Errno returns what an NLMSG_ERROR says, which is 0 if all went well. It is false if the message
// is none.
func Errno(message []byte) (unix.Errno, bool) {
	if Type(message) != unix.NLMSG_ERROR || len(message) < unix.SizeofNlMsghdr+4 {
		return 0, false
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(message[unix.SizeofNlMsghdr:]))), true
}
