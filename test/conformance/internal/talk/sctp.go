package talk

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"golang.org/x/sys/unix"
)

const ipprotoSCTP = 132

// callSCTP sends the first packet of an association by a raw socket, so that it needs
// no SCTP in the kernel, only the conntrack that translates it. Nobody answers; who
// would have is seen on the way. A refusal comes back as ICMP.
func callSCTP(call Call) Answer {
	answer := Answer{Port: sourcePort()}
	err := func() error {
		domain := unix.AF_INET6
		if call.Destination.Addr().Is4() {
			domain = unix.AF_INET
		}
		socket, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, ipprotoSCTP)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		if call.Source.IsValid() {
			if err := unix.Bind(socket, address(call.Source.AsSlice())); err != nil {
				return err
			}
		}
		if err := unix.Connect(socket, address(call.Destination.Addr().AsSlice())); err != nil {
			return err
		}
		if _, err := unix.Write(socket, initPacket(answer.Port, call.Destination.Port())); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(max(call.Patience, time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		_, err = unix.Read(socket, make([]byte, 256))
		return err
	}()
	if answer.Result, answer.Err = Answered, err; err != nil {
		answer.Result = resultOf(err)
	}
	return answer
}

func address(ip []byte) unix.Sockaddr {
	if len(ip) == 4 {
		return &unix.SockaddrInet4{Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Addr: [16]byte(ip)}
}

// initPacket is an INIT chunk in a packet (RFC 9260, sections 3.1 and 3.3.2).
func initPacket(source, destination uint16) []byte {
	const header, chunk = 12, 20
	p := make([]byte, header+chunk)
	binary.BigEndian.PutUint16(p[0:], source)
	binary.BigEndian.PutUint16(p[2:], destination)
	p[header] = 1 // INIT
	binary.BigEndian.PutUint16(p[header+2:], chunk)
	binary.BigEndian.PutUint32(p[header+4:], uint32(source)+1) // initiate tag, not 0
	binary.BigEndian.PutUint32(p[header+8:], 65536)            // receiver window
	binary.BigEndian.PutUint16(p[header+12:], 1)               // streams out
	binary.BigEndian.PutUint16(p[header+14:], 1)               // streams in
	binary.BigEndian.PutUint32(p[header+16:], 1)               // initial TSN
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}
