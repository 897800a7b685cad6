package traffic

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Answer is what a client learns from one connection.
type Answer struct {
	// Pod is who answered.
	Pod string
	// Source is the address that the pod saw.
	Source netip.Addr
	Took   time.Duration
}

// Visit makes a new connection from the caller's thread, is greeted, and leaves.
func Visit(ctx context.Context, address string, timeout time.Duration) (Answer, error) {
	begun := time.Now()
	connection, answer, err := greet(ctx, address, timeout)
	if err != nil {
		return Answer{}, err
	}
	answer.Took = time.Since(begun)
	return answer, connection.Close()
}

// greet connects and reads the pod's greeting.
func greet(ctx context.Context, address string, timeout time.Duration) (net.Conn, Answer, error) {
	connection, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, Answer{}, err
	}
	answer, err := readGreeting(connection, timeout)
	if err != nil {
		_ = connection.Close()
		return nil, Answer{}, err
	}
	return connection, answer, nil
}

func readGreeting(connection net.Conn, timeout time.Duration) (Answer, error) {
	if err := connection.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return Answer{}, err
	}
	line, err := bufio.NewReaderSize(connection, 128).ReadString('\n')
	if err != nil {
		return Answer{}, fmt.Errorf("waiting for the greeting: %w", err)
	}
	pod, source, found := strings.Cut(strings.TrimSpace(line), " ")
	seen, err := netip.ParseAddrPort(source)
	if !found || err != nil {
		return Answer{}, fmt.Errorf("greeting %q: expected a pod's name and an address", line)
	}
	return Answer{Pod: pod, Source: seen.Addr().Unmap()}, connection.SetReadDeadline(time.Time{})
}
