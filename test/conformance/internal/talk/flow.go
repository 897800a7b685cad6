package talk

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// Flow is a client that sends UDP packets from one port, again and again, as a
// resolver or a tunnel does: to the kernel it is one connection.
type Flow struct {
	connection net.Conn
	answer     Answer
}

// glance is how long a flow waits for an answer before it sends again.
const glance = 25 * time.Millisecond

// OpenFlow opens a flow and sends its first packet, without waiting for an answer.
func OpenFlow(call Call) (*Flow, error) {
	dialer, answer := newDialer(call)
	connection, err := dialer.Dial("udp", call.Destination.String())
	if err != nil {
		return nil, err
	}
	f := &Flow{connection: connection, answer: answer}
	_, _ = f.connection.Write([]byte("hello")) // An answer tells whether it came.
	return f, nil
}

// Ask sends until there is an answer, and returns who sent it. Answers to earlier
// packets are passed over.
func (f *Flow) Ask(patience time.Duration) (netip.AddrPort, error) {
	if err := f.drain(); err != nil {
		return netip.AddrPort{}, err
	}
	deadline := time.Now().Add(patience)
	for {
		_, err := f.connection.Write([]byte("hello"))
		if err == nil {
			err = readGreeting(f.connection, glance, &f.answer)
		}
		if err == nil || time.Now().After(deadline) {
			return f.answer.Backend, err
		}
	}
}

// drain reads what is there already.
func (f *Flow) drain() error {
	var packet [64]byte
	if err := f.connection.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	for {
		if _, err := f.connection.Read(packet[:]); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
	}
}

// Close ends the flow.
func (f *Flow) Close() { _ = f.connection.Close() }
