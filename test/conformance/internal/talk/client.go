package talk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Result is how a call ended.
type Result string

// The ways in which a call ends.
const (
	Answered Result = "answered"
	Refused  Result = "refused"
	Silent   Result = "silent"
	Failed   Result = "failed"
)

// Call is one new connection.
type Call struct {
	// Protocol is "tcp", "udp" or "sctp".
	Protocol string
	// Source is the address to call from; the zero address leaves it to the kernel.
	Source      netip.Addr
	Destination netip.AddrPort
	// Patience is how long to wait for an answer.
	Patience time.Duration
}

// Answer is what came of a call.
type Answer struct {
	Result Result
	// Port is the client's own, which no other call of this process has had lately.
	Port uint16
	// Backend is who answered, and Seen the client's address as it saw it.
	Backend netip.AddrPort
	Seen    netip.Addr
	Err     error
}

// Make makes a call from the caller's thread's namespace, and hangs up.
func Make(call Call) Answer {
	if call.Protocol == "sctp" {
		return callSCTP(call)
	}
	connection, answer := dial(call)
	if connection != nil {
		hangUp(connection)
	}
	return answer
}

// Source ports lie outside of what node ports and the suite's servers use.
const (
	firstPort = 33000
	ports     = 28000
)

var nextPort atomic.Uint32

func sourcePort() uint16 { return uint16(firstPort + nextPort.Add(1)%ports) }

// newDialer returns what calls from a port of its own, which the answer names.
func newDialer(call Call) (net.Dialer, Answer) {
	answer := Answer{Port: sourcePort()}
	dialer := net.Dialer{Timeout: call.Patience, Control: reuse}
	source := call.Source
	if !source.IsValid() {
		source = netip.IPv6Unspecified()
		if call.Destination.Addr().Is4() {
			source = netip.IPv4Unspecified()
		}
	}
	dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, answer.Port))
	if call.Protocol == "udp" {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, answer.Port))
	}
	return dialer, answer
}

// dial returns an open connection if it was answered.
func dial(call Call) (net.Conn, Answer) {
	dialer, answer := newDialer(call)
	connection, err := dialer.DialContext(context.Background(), call.Protocol, call.Destination.String())
	if err == nil && call.Protocol == "udp" {
		if _, err = connection.Write([]byte("hello")); errors.Is(err, syscall.EPERM) {
			err = nil // It was stopped on this machine; whether with a word, Read will tell.
		}
	}
	if err == nil {
		err = readGreeting(connection, call.Patience, &answer)
	}
	if err != nil {
		answer.Result, answer.Err = resultOf(err), err
		if connection != nil {
			hangUp(connection)
		}
		return nil, answer
	}
	answer.Result = Answered
	return connection, answer
}

func readGreeting(connection net.Conn, patience time.Duration, answer *Answer) error {
	if err := connection.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(connection, 128).ReadBytes('\n')
	if err != nil {
		return err
	}
	return parseGreeting(line, answer)
}

// parseGreeting reads who has answered, and whom it saw.
func parseGreeting(line []byte, answer *Answer) (err error) {
	server, client, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	if answer.Backend, err = netip.ParseAddrPort(server); err != nil {
		return fmt.Errorf("greeting %q: %w", line, err)
	}
	seen, err := netip.ParseAddrPort(client)
	answer.Seen = seen.Addr().Unmap()
	return err
}

func resultOf(err error) Result {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, syscall.EAGAIN):
		return Silent
	default:
		return Failed
	}
}

// hangUp closes without leaving a port in TIME_WAIT.
func hangUp(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	connection.Close()
}

func reuse(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}

// Held is an established connection.
type Held struct {
	Backend    netip.AddrPort
	connection net.Conn
}

// Hold makes a TCP call and keeps the connection.
func Hold(call Call) (*Held, error) {
	connection, answer := dial(call)
	if connection == nil {
		return nil, fmt.Errorf("connecting to %s: %w", call.Destination, answer.Err)
	}
	return &Held{Backend: answer.Backend, connection: connection}, nil
}

// Client returns the client's own address and port.
func (h *Held) Client() netip.AddrPort {
	address, _ := netip.ParseAddrPort(h.connection.LocalAddr().String())
	return address
}

// Check sends something and expects it back.
func (h *Held) Check(patience time.Duration) error {
	const word = "still there?"
	if err := h.connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := h.connection.Write([]byte(word)); err != nil {
		return err
	}
	echo := make([]byte, len(word))
	if _, err := h.connection.Read(echo); err != nil {
		return err
	}
	if string(echo) != word {
		return fmt.Errorf("got %q back", echo)
	}
	return nil
}

// Close hangs up.
func (h *Held) Close() { hangUp(h.connection) }
