package netlinkwire

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

func message(kind uint16, payload ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, make([]byte, unix.SizeofNlMsghdr-len(b))...), payload...)
}

func TestMessagesAndAttributesEndWhereTheyMakeNoSense(t *testing.T) {
	buffer := append(message(7, 1, 0, 0, 0, 5), 0, 0, 0) // Five bytes, padded.
	buffer = append(buffer, message(9)...)
	buffer = append(buffer, 255, 0, 0, 0) // Half a header.
	var kinds []uint16
	for m := range Messages(buffer) {
		kinds = append(kinds, Type(m))
	}
	if len(kinds) != 2 || kinds[0] != 7 || kinds[1] != 9 {
		t.Errorf("messages %v", kinds)
	}
	list := []byte{5, 0, 1, 0x80, 42, 0, 0, 0, 4, 0, 2, 0, 9, 0, 3, 0, 1} // Nested, empty, cut off.
	var got []uint16
	for kind := range Attributes(list) {
		got = append(got, kind)
	}
	if len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("attributes %v", got)
	}
}

func TestErrno(t *testing.T) {
	refused := -int32(unix.EPERM)
	answer := message(unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, uint32(refused))...)
	if errno, ok := Errno(answer); !ok || errno != unix.EPERM {
		t.Errorf("%v, %v", errno, ok)
	}
	for _, m := range [][]byte{message(unix.NLMSG_ERROR, 1), message(unix.NLMSG_DONE, 0, 0, 0, 0)} {
		if errno, ok := Errno(m); ok {
			t.Errorf("%v is %v", m, errno)
		}
	}
}
