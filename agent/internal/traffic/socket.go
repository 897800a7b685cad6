package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
)

const (
	// readBuffer holds what the kernel gives at once.
	readBuffer = 64 << 10
	// eventBuffer is what the kernel keeps of ended connections until they are read: about
	// eight thousand.
	eventBuffer = 8 << 20
	// answerTimeout is how long to wait for the kernel's table.
	answerTimeout = 10 * time.Second

	subsystem = unix.NFNL_SUBSYS_CTNETLINK << 8
	// The messages IPCTNL_MSG_CT_NEW, _GET and _DELETE.
	entryMessage, getMessage, endMessage = subsystem, subsystem | 1, subsystem | 2
	// groupDestroy is NFNLGRP_CONNTRACK_DESTROY.
	groupDestroy = 3
)

// socket reads the connection table, or hears of entries that end. It belongs to one
// goroutine.
type socket struct {
	fd     int
	buffer []byte
}

func openSocket(groups uint32, flags int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket to the connection table: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("listening to the connection table: %w", err), unix.Close(fd))
	}
	return &socket{fd: fd, buffer: make([]byte, readBuffer)}, nil
}

// openTable returns a socket to read the table with.
func openTable() (*socket, error) {
	s, err := openSocket(0, 0)
	if err != nil {
		return nil, err
	}
	patience := unix.NsecToTimeval(int64(answerTimeout))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a netlink socket to the connection table: %w", err), s.close())
	}
	return s, nil
}

// openEvents returns a socket that hears of entries that end.
func openEvents() (*socket, error) {
	s, err := openSocket(1<<(groupDestroy-1), unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer); err != nil {
		// What is lost with less is said.
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
	}
	return s, nil
}

func (s *socket) close() error { return unix.Close(s.fd) }

// list hands over what each read of the whole table returns.
func (s *socket) list(read func([]byte)) error {
	request := make([]byte, unix.SizeofNlMsghdr+familyHeader)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], getMessage)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(s.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("asking for the connection table: %w", err)
	}
	for {
		n, err := unix.Read(s.fd, s.buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the connection table: %w", err)
		}
		read(s.buffer[:n])
		for message := range netlinkwire.Messages(s.buffer[:n]) {
			if netlinkwire.Type(message) == unix.NLMSG_DONE {
				return nil
			}
			if errno, ok := netlinkwire.Errno(message); ok && errno != 0 {
				return fmt.Errorf("reading the connection table: %w", errno)
			}
		}
	}
}

// drain hands over what has come. Lost is set if the kernel could not keep all of it.
func (s *socket) drain(read func([]byte)) (lost bool, err error) {
	for {
		n, err := unix.Read(s.fd, s.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return lost, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			lost = true
		case err != nil:
			return lost, fmt.Errorf("reading of connections that end: %w", err)
		default:
			read(s.buffer[:n])
		}
	}
}
