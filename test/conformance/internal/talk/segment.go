package talk

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// SendStraySegments sends two TCP segments that belong nowhere, from the caller's
// thread's namespace: ACKs with sequence numbers half the space apart, so that one of
// them is far beyond what the connection may send now, whatever that is. (The other
// may pass for something old.)
func SendStraySegments(from, to netip.AddrPort) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("opening a raw socket: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	if err := unix.Bind(socket, address(from.Addr().AsSlice())); err != nil {
		return fmt.Errorf("binding %s: %w", from.Addr(), err)
	}
	for _, sequence := range []uint32{0, 1 << 31} {
		if err := unix.Sendto(socket, segment(from, to, sequence), 0, address(to.Addr().AsSlice())); err != nil {
			return err
		}
	}
	return nil
}

// segment is a TCP header (RFC 9293, section 3.1) over IPv4.
func segment(from, to netip.AddrPort, sequence uint32) []byte {
	const headerLen, ack = 20, 0x10
	s := make([]byte, headerLen)
	binary.BigEndian.PutUint16(s[0:], from.Port())
	binary.BigEndian.PutUint16(s[2:], to.Port())
	binary.BigEndian.PutUint32(s[4:], sequence)
	binary.BigEndian.PutUint32(s[8:], sequence)
	s[12], s[13] = headerLen/4<<4, ack
	binary.BigEndian.PutUint16(s[14:], 1) // window
	pseudo := append(append(append([]byte{}, from.Addr().AsSlice()...), to.Addr().AsSlice()...), 0, unix.IPPROTO_TCP, 0, headerLen)
	binary.BigEndian.PutUint16(s[16:], checksum(append(pseudo, s...)))
	return s
}

// checksum is the internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
