package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// The library sends one message and waits for its answer. A bulk of them costs most of its
// time so, which is why changes are sent by a writer of our own: many messages at a time, each
// with a number of its own, by which the kernel's answers are told apart.

const (
	// writerWindow is how many messages are under way at most: their answers must have
	// room in the socket, or the kernel drops them.
	writerWindow = 128
	// writerPatience is how long the kernel may take to answer.
	writerPatience = 10 * time.Second
	// answerRoom takes more than the answers to a window.
	answerRoom = 64 << 10
)

// Commands and attributes of linux/ip_vs.h.
const (
	cmdNewService = iota + 1
	cmdSetService
	cmdDelService
	_
	cmdNewDest
	cmdSetDest
	cmdDelDest

	attrService = 1
	attrDest    = 2

	svcFamily    = 1
	svcProtocol  = 2
	svcAddress   = 3
	svcPort      = 4
	svcScheduler = 6
	svcFlags     = 7
	svcTimeout   = 8
	svcNetmask   = 9

	destAddress    = 1
	destPort       = 2
	destForwarding = 3
	destWeight     = 4
	destUpper      = 5
	destLower      = 6
	destFamily     = 11

	forwardMasquerade = 0
	protocolVersion   = 1
)

// traffic counts what was written.
type traffic struct {
	// messages are single changes, sends the calls of the kernel that carried them.
	messages, sends int
}

// writer sends changes to the kernel. It belongs to one goroutine.
type writer struct {
	fd      int
	family  uint16
	number  uint32
	window  int
	traffic traffic
}

func openWriter() (*writer, error) {
	family, err := netlink.GenlFamilyGet("IPVS")
	if err != nil {
		return nil, fmt.Errorf("asking for the netlink family of IPVS: %w", err)
	}
	w := &writer{family: family.ID, window: writerWindow}
	return w, w.open()
}

func (w *writer) open() (err error) {
	if w.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC); err != nil {
		return fmt.Errorf("opening a netlink socket to IPVS: %w", err)
	}
	patience := unix.NsecToTimeval(writerPatience.Nanoseconds())
	err = errors.Join(
		// So that an answer has the number of what it answers, and not all of it.
		unix.SetsockoptInt(w.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.Bind(w.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		w.close()
		return fmt.Errorf("opening a netlink socket to IPVS: %w", err)
	}
	return nil
}

func (w *writer) close() { _ = unix.Close(w.fd) }

// run makes steps in their order, and all of them whatever fails. It returns an error for
// each; nil for what has succeeded.
func (w *writer) run(steps []step) []error {
	results := make([]error, len(steps))
	for from := 0; from < len(steps); from += w.window {
		to := min(from+w.window, len(steps))
		w.send(steps[from:to], results[from:to])
	}
	return results
}

// send sends what fits into the window and waits for all answers. What cannot be asked of
// the kernel is refused.
func (w *writer) send(steps []step, results []error) {
	first := w.number + 1
	var buffer []byte
	waiting := map[uint32]int{}
	for i, s := range steps {
		if results[i] = s.check(); results[i] != nil {
			continue
		}
		w.number++
		waiting[w.number] = i
		buffer = append(buffer, w.encode(s)...)
	}
	if len(waiting) == 0 {
		return
	}
	w.traffic.messages += len(waiting)
	w.traffic.sends++
	err := unix.Sendto(w.fd, buffer, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		err = w.receive(waiting, func(number uint32, errno unix.Errno) {
			i := waiting[number]
			results[i] = steps[i].explain(errno)
		})
	}
	if err == nil {
		return
	}
	// What becomes of the rest is not known, and late answers must not be taken for those
	// to something else.
	for _, i := range waiting {
		results[i] = fmt.Errorf("IPVS: %s: no answer of the kernel: %w", steps[i], err)
	}
	w.close()
	if err := w.open(); err != nil {
		w.fd = -1
	}
	w.number = first + uint32(len(steps))
}

// receive reads answers until nothing is waiting for one.
func (w *writer) receive(waiting map[uint32]int, answer func(number uint32, errno unix.Errno)) error {
	buffer := make([]byte, answerRoom)
	for len(waiting) > 0 {
		n, _, err := unix.Recvfrom(w.fd, buffer, 0)
		if err != nil {
			return err
		}
		for message := range netlinkwire.Messages(buffer[:n]) {
			number := binary.NativeEndian.Uint32(message[8:])
			errno, ok := netlinkwire.Errno(message)
			if _, waits := waiting[number]; waits && ok {
				answer(number, errno)
				delete(waiting, number)
			}
		}
	}
	return nil
}

// encode returns the message of a step.
func (w *writer) encode(s step) []byte {
	commands := map[operation]uint8{
		addServer: cmdNewService, changeServer: cmdSetService, deleteServer: cmdDelService,
		addDestination: cmdNewDest, changeDestination: cmdSetDest, drainDestination: cmdSetDest, deleteDestination: cmdDelDest,
	}
	request := &nl.NetlinkRequest{NlMsghdr: unix.NlMsghdr{
		Len: unix.SizeofNlMsghdr, Type: w.family, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: w.number,
	}}
	request.AddData(genericHeader{commands[s.operation], protocolVersion, 0, 0})
	request.AddData(s.server.attribute(s.operation == addServer || s.operation == changeServer))
	if s.ofDestination() {
		request.AddData(s.destination.attribute())
	}
	return request.Serialize()
}

// genericHeader is struct genlmsghdr: command, version, and two bytes that are reserved.
// (That of the library has no place for these, and sends what lies behind it in memory.)
type genericHeader [4]byte

// Len implements nl.NetlinkRequestData.
func (h genericHeader) Len() int { return len(h) }

// Serialize implements nl.NetlinkRequestData.
func (h genericHeader) Serialize() []byte { return h[:] }

// attribute is a virtual server's; whole if more than its name is asked for.
func (s server) attribute(whole bool) *nl.RtAttr {
	family, netmask := uint16(unix.AF_INET), uint32(0xffffffff)
	if s.Addr.Is6() {
		family, netmask = unix.AF_INET6, 128
	}
	a := nl.NewRtAttr(attrService|unix.NLA_F_NESTED, nil)
	a.AddRtAttr(svcFamily, nl.Uint16Attr(family))
	a.AddRtAttr(svcProtocol, nl.Uint16Attr(uint16(s.Protocol)))
	a.AddRtAttr(svcAddress, s.Addr.AsSlice())
	a.AddRtAttr(svcPort, bigEndian(s.Port))
	if !whole {
		return a
	}
	flags := s.flags
	if s.persistence > 0 {
		flags |= flagPersistent
	}
	a.AddRtAttr(svcScheduler, nl.ZeroTerminated(s.scheduler))
	a.AddRtAttr(svcFlags, append(nl.Uint32Attr(flags), nl.Uint32Attr(0xffffffff)...)) // and which of them count
	a.AddRtAttr(svcTimeout, nl.Uint32Attr(uint32(s.persistence/time.Second)))
	a.AddRtAttr(svcNetmask, nl.Uint32Attr(netmask))
	return a
}

func (d destination) attribute() *nl.RtAttr {
	family := uint16(unix.AF_INET)
	if d.backend.Addr().Is6() {
		family = unix.AF_INET6
	}
	a := nl.NewRtAttr(attrDest|unix.NLA_F_NESTED, nil)
	a.AddRtAttr(destAddress, d.backend.Addr().AsSlice())
	a.AddRtAttr(destPort, bigEndian(d.backend.Port()))
	a.AddRtAttr(destForwarding, nl.Uint32Attr(forwardMasquerade))
	a.AddRtAttr(destWeight, nl.Uint32Attr(uint32(d.weight)))
	a.AddRtAttr(destUpper, nl.Uint32Attr(0))
	a.AddRtAttr(destLower, nl.Uint32Attr(0))
	a.AddRtAttr(destFamily, nl.Uint16Attr(family))
	return a
}

func bigEndian(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// check refuses what the kernel would take for something else.
func (s step) check() error {
	if !s.ofDestination() {
		return nil
	}
	d, of := s.destination, s.server.Key
	if d.backend.Addr().Is6() != of.Addr.Is6() {
		return fmt.Errorf("destination %s of %s: expected an address of the same family", d.backend, of)
	}
	if d.weight < 0 || d.weight > ruleset.MaxWeight {
		return fmt.Errorf("destination %s of %s: weight %d: expected 0 to %d", d.backend, of, d.weight, ruleset.MaxWeight)
	}
	return nil
}

func (s step) ofDestination() bool {
	switch s.operation {
	case addDestination, changeDestination, drainDestination, deleteDestination:
		return true
	default:
		return false
	}
}

// explain makes the kernel's answer an error that says what was asked, or none. What is to
// be deleted and is not there any more is deleted: ESRCH is a virtual server's, ENOENT a
// destination's.
func (s step) explain(errno unix.Errno) error {
	isDeletion := s.operation == deleteServer || s.operation == deleteDestination
	if errno == 0 || isDeletion && (errno == unix.ESRCH || errno == unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("IPVS: %s: %w", s, errno)
}
