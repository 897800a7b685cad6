package talk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SCTP is spoken by hand, over raw sockets, so that it needs none in the kernel, only
// the conntrack that translates it: a client's INIT is answered by an INIT ACK, whose
// state cookie is the server's greeting (RFC 9260, sections 3.1, 3.3.2 and 3.3.3).
const (
	ipprotoSCTP = 132

	chunkInit    = 1
	chunkInitAck = 2
	// stateCookie is the parameter that an INIT ACK must have.
	stateCookie = 7

	// headerLen is that of the packet, initLen that of an INIT or INIT ACK without
	// parameters, parameterLen that of a parameter's type and length.
	headerLen    = 12
	initLen      = 20
	parameterLen = 4
)

// rawSCTP opens a socket for the packets of an address, or of any one.
func rawSCTP(family, local netip.Addr) (*os.File, error) {
	domain := unix.AF_INET6
	if family.Is4() {
		domain = unix.AF_INET
	}
	socket, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, ipprotoSCTP)
	if err != nil {
		return nil, fmt.Errorf("opening a raw socket: %w", err)
	}
	file := os.NewFile(uintptr(socket), "sctp")
	if !local.IsValid() {
		return file, nil
	}
	if err := unix.Bind(socket, address(local.AsSlice())); err != nil {
		return nil, errors.Join(fmt.Errorf("binding %s: %w", local, err), file.Close())
	}
	return file, nil
}

// callSCTP asks for an association and is content with the answer.
func callSCTP(call Call) Answer {
	answer := Answer{Port: sourcePort()}
	err := exchangeSCTP(call, &answer)
	if answer.Result, answer.Err = Answered, err; err != nil {
		answer.Result = resultOf(err)
	}
	return answer
}

func exchangeSCTP(call Call, answer *Answer) error {
	file, err := rawSCTP(call.Destination.Addr(), call.Source)
	if err != nil {
		return err
	}
	defer file.Close()
	socket := int(file.Fd())
	if err := unix.Connect(socket, address(call.Destination.Addr().AsSlice())); err != nil {
		return err
	}
	if err := receiveErrors(socket, call.Destination.Addr()); err != nil {
		return err
	}
	tag := uint32(answer.Port) + 1 // Not 0.
	if _, err := unix.Write(socket, sctpPacket(answer.Port, call.Destination.Port(), 0, chunkInit, tag, nil)); err != nil {
		return err
	}
	for deadline := time.Now().Add(call.Patience); ; {
		timeout := unix.NsecToTimeval(max(time.Until(deadline), time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		buffer := make([]byte, 512)
		n, err := unix.Read(socket, buffer)
		if errors.Is(err, unix.ECONNREFUSED) && !refusedTo(socket, answer.Port) {
			continue
		}
		if err != nil {
			return err
		}
		reply, ok := parseSCTP(buffer[:n], call.Destination.Addr().Is4())
		if ok && reply.destination == answer.Port && reply.chunk == chunkInitAck && reply.tag == tag {
			return parseGreeting(reply.cookie, answer)
		}
	}
}

// receiveErrors has the kernel keep the packets that ICMP errors are about. A raw
// socket is told of errors of all packets between two addresses, others' too.
func receiveErrors(socket int, destination netip.Addr) error {
	if destination.Is4() {
		return unix.SetsockoptInt(socket, unix.SOL_IP, unix.IP_RECVERR, 1)
	}
	return unix.SetsockoptInt(socket, unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
}

// refusedTo tells whether one of the errors is about a packet from a port.
func refusedTo(socket int, port uint16) bool {
	found := false
	for {
		packet, control := make([]byte, 512), make([]byte, 512)
		n, _, _, _, err := unix.Recvmsg(socket, packet, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return found
		}
		found = found || n >= 2 && binary.BigEndian.Uint16(packet) == port
	}
}

// serveSCTP answers every INIT to an address and port.
func serveSCTP(at netip.AddrPort, greeting func(string) []byte) error {
	file, err := rawSCTP(at.Addr(), at.Addr())
	if err != nil {
		return err
	}
	go func() {
		defer file.Close()
		socket, buffer := int(file.Fd()), make([]byte, 512)
		for {
			n, from, err := unix.Recvfrom(socket, buffer, 0)
			if err != nil {
				return
			}
			packet, ok := parseSCTP(buffer[:n], at.Addr().Is4())
			if !ok || packet.chunk != chunkInit || packet.destination != at.Port() {
				continue
			}
			peer := netip.AddrPortFrom(addressOf(from), packet.source)
			ack := sctpPacket(at.Port(), packet.source, packet.initiateTag, chunkInitAck, 1, greeting(peer.String()))
			_ = unix.Sendto(socket, ack, 0, from)
		}
	}()
	return nil
}

func address(ip []byte) unix.Sockaddr {
	if len(ip) == 4 {
		return &unix.SockaddrInet4{Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Addr: [16]byte(ip)}
}

func addressOf(socket unix.Sockaddr) netip.Addr {
	switch socket := socket.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(socket.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(socket.Addr)
	default:
		return netip.Addr{}
	}
}

// sctpPacket is a packet with an INIT or an INIT ACK, and a state cookie if there is
// one.
func sctpPacket(source, destination uint16, tag uint32, chunk byte, initiateTag uint32, cookie []byte) []byte {
	length := initLen
	if cookie != nil {
		length += parameterLen + len(cookie)
	}
	p := make([]byte, headerLen+(length+3)/4*4)
	binary.BigEndian.PutUint16(p[0:], source)
	binary.BigEndian.PutUint16(p[2:], destination)
	binary.BigEndian.PutUint32(p[4:], tag)
	c := p[headerLen:]
	c[0] = chunk
	binary.BigEndian.PutUint16(c[2:], uint16(length))
	binary.BigEndian.PutUint32(c[4:], initiateTag)
	binary.BigEndian.PutUint32(c[8:], 65536) // receiver window
	binary.BigEndian.PutUint16(c[12:], 1)    // streams out
	binary.BigEndian.PutUint16(c[14:], 1)    // streams in
	binary.BigEndian.PutUint32(c[16:], 1)    // initial TSN
	if cookie != nil {
		binary.BigEndian.PutUint16(c[initLen:], stateCookie)
		binary.BigEndian.PutUint16(c[initLen+2:], uint16(parameterLen+len(cookie)))
		copy(c[initLen+parameterLen:], cookie)
	}
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// sctpFields is what is of interest in a received packet.
type sctpFields struct {
	source, destination uint16
	tag, initiateTag    uint32
	chunk               byte
	cookie              []byte
}

// parseSCTP reads a packet as a raw socket delivers it: for IPv4 with its IP header.
func parseSCTP(p []byte, is4 bool) (sctpFields, bool) {
	if is4 {
		if len(p) < 1 || len(p) < int(p[0]&0xf)*4 {
			return sctpFields{}, false
		}
		p = p[int(p[0]&0xf)*4:]
	}
	if len(p) < headerLen+initLen {
		return sctpFields{}, false
	}
	c := p[headerLen:]
	fields := sctpFields{
		source: binary.BigEndian.Uint16(p), destination: binary.BigEndian.Uint16(p[2:]), tag: binary.BigEndian.Uint32(p[4:]),
		chunk: c[0], initiateTag: binary.BigEndian.Uint32(c[4:]),
	}
	if parameter := c[initLen:]; len(parameter) > parameterLen && binary.BigEndian.Uint16(parameter) == stateCookie {
		length := min(int(binary.BigEndian.Uint16(parameter[2:])), len(parameter))
		fields.cookie = bytes.Clone(parameter[parameterLen:max(length, parameterLen)])
	}
	return fields, true
}
