package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
)

// socket sends transactions: many messages by one system call, with one answer. (The
// library sends what it has built message by message and asks for none.) It belongs to
// one goroutine.
type socket struct {
	fd       int
	sequence uint32
	// sendBuffer is how much the kernel takes by one call.
	sendBuffer int
	answers    []byte
}

func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
		}
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &socket{fd: fd, answers: make([]byte, answerLen)}, nil
}

func (s *socket) close() error { return unix.Close(s.fd) }

const (
	// answerLen holds many answers, of which one is expected.
	answerLen = 64 << 10
	// overhead is what the kernel adds to a message when it counts.
	overhead = 1 << 10
)

// batchError is the kernel's refusal of a transaction.
type batchError struct {
	errno unix.Errno
	// message is the one that was refused, if it can be told, and offset where in it the
	// kernel saw what it does not like; zero if it does not say.
	message []byte
	offset  int
}

func (e *batchError) Error() string {
	if e.message == nil {
		return e.errno.Error()
	}
	return describe(e.message, e.offset) + ": " + e.errno.Error()
}

func (e *batchError) Unwrap() error { return e.errno }

// commit sends messages as one transaction and waits for its fate. If generation is
// not zero the kernel refuses the transaction with ERESTART unless that is the
// generation of its ruleset.
func (s *socket) commit(generation uint32, buffers [][]byte) error {
	all := append(append([][]byte{batchMessage(unix.NFNL_MSG_BATCH_BEGIN, generation)}, buffers...), batchMessage(unix.NFNL_MSG_BATCH_END, 0))
	first := s.sequence
	length := 0
	var last []byte
	for i, buffer := range all {
		length += len(buffer)
		for message := range netlinkwire.Messages(buffer) {
			binary.NativeEndian.PutUint32(message[sequenceOffset:], s.sequence)
			s.sequence++
			if i > 0 && i < len(all)-1 {
				last = message
			}
		}
	}
	// An answer to the last message is sent after the commit.
	flags := binary.NativeEndian.Uint16(last[flagsOffset:]) | unix.NLM_F_ACK
	binary.NativeEndian.PutUint16(last[flagsOffset:], flags)
	if err := s.reserve(length + overhead); err != nil {
		return err
	}
	if _, err := unix.SendmsgBuffers(s.fd, merged(all), nil, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}, 0); err != nil {
		return fmt.Errorf("sending %d bytes: %w", length, err)
	}
	return s.fate(first, binary.NativeEndian.Uint32(last[sequenceOffset:]), all)
}

// reserve raises how much the kernel takes by one call.
func (s *socket) reserve(length int) error {
	if length <= s.sendBuffer {
		return nil
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, length); err != nil {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, length); err != nil {
			return fmt.Errorf("raising the send buffer to %d bytes: %w", length, err)
		}
	}
	s.sendBuffer = length
	return nil
}

// maxBuffers is how many buffers one system call takes (IOV_MAX, less a reserve).
const maxBuffers = 1000

// merged joins buffers if there are too many.
func merged(buffers [][]byte) [][]byte {
	if len(buffers) <= maxBuffers {
		return buffers
	}
	joined := make([]byte, 0, len(buffers[0]))
	for _, buffer := range buffers {
		joined = append(joined, buffer...)
	}
	return [][]byte{joined}
}

func batchMessage(kind uint16, generation uint32) []byte {
	b := appendHeader(nil, kind, unix.NLM_F_REQUEST, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	if generation != 0 {
		b = appendAttribute(b, nfBatchGenID, string(binary.BigEndian.AppendUint32(nil, generation)))
	}
	endMessage(b, 0)
	return b
}

var errNoAnswer = errors.New("the kernel gave no answer to a transaction")

// fate reads the answers, all of which are there when the call returns that sent the
// transaction.
func (s *socket) fate(first, last uint32, sent [][]byte) error {
	var refused *batchError
	committed := false
	for {
		n, _, err := unix.Recvfrom(s.fd, s.answers, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if refused != nil {
				return refused
			}
			if !committed {
				return errNoAnswer
			}
			return nil
		case err != nil:
			return fmt.Errorf("reading the kernel's answer: %w", err)
		}
		for answer := range netlinkwire.Messages(s.answers[:n]) {
			sequence := binary.NativeEndian.Uint32(answer[sequenceOffset:])
			errno, offset, ok := parseAnswer(answer)
			if !ok || sequence-first > last-first+1 {
				continue // Of an earlier transaction whose answer came late.
			}
			switch {
			case errno != 0 && refused == nil:
				refused = &batchError{errno: errno, message: nth(sent, sequence), offset: offset}
			case errno == 0 && sequence == last:
				committed = true
			}
		}
	}
}

// parseAnswer reads an NLMSG_ERROR with its extended attributes.
func parseAnswer(answer []byte) (errno unix.Errno, offset int, ok bool) {
	const errnoLen, nlmsgerrAttrOffs = 4, 2
	errno, ok = netlinkwire.Errno(answer)
	if !ok || len(answer) < headerLen+errnoLen+headerLen {
		return 0, 0, false
	}
	for kind, value := range netlinkwire.Attributes(answer[headerLen+errnoLen+headerLen:]) {
		if kind == nlmsgerrAttrOffs && len(value) >= 4 {
			offset = int(binary.NativeEndian.Uint32(value))
		}
	}
	return errno, offset, true
}

// nth returns the message of a sequence number, unless it is the frame's.
func nth(sent [][]byte, sequence uint32) []byte {
	for _, buffer := range sent[1 : len(sent)-1] {
		for message := range netlinkwire.Messages(buffer) {
			if binary.NativeEndian.Uint32(message[sequenceOffset:]) == sequence {
				return message
			}
		}
	}
	return nil
}
