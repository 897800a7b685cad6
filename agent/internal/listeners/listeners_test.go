package listeners

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rig is a running set whose listeners answer with what is known of their address.
type rig struct {
	*Set[string]
	mu       sync.Mutex
	failures [][]Failure[string]
}

func start(t *testing.T) (*rig, context.CancelFunc) {
	t.Helper()
	r := &rig{}
	r.Set = New(func(listener net.Listener, known *atomic.Pointer[string]) {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte(*known.Load()))
			_ = connection.Close()
		}
	}, func(failures []Failure[string]) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failures = append(r.failures, failures)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func answer(address netip.AddrPort) string {
	connection, err := net.DialTimeout("tcp", address.String(), time.Second)
	if err != nil {
		return "nobody"
	}
	defer func() { _ = connection.Close() }()
	buffer := make([]byte, 64)
	n, _ := connection.Read(buffer)
	return string(buffer[:n])
}

func taken(t *testing.T) (net.Listener, netip.AddrPort) {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener, netip.MustParseAddrPort(listener.Addr().String())
}

func TestWhatIsWantedIsListenedOnAndNothingElse(t *testing.T) {
	r, stop := start(t)
	holder, address := taken(t)
	_ = holder.Close()
	expect := func(when, want string) {
		t.Helper()
		if got := answer(address); got != want {
			t.Errorf("%s: %q answers, want %q", when, got, want)
		}
	}
	expect("before", "nobody")
	r.Update(map[netip.AddrPort]string{address: "one"})
	expect("wanted", "one")
	r.Update(map[netip.AddrPort]string{address: "two"})
	expect("known by another name", "two")
	r.Update(nil)
	expect("not wanted any more", "nobody")
	r.Update(map[netip.AddrPort]string{address: "three"})
	stop()
	expect("after the end", "nobody")
	r.Update(map[netip.AddrPort]string{address: "four"})
	expect("wanted after the end", "nobody")
}

func TestATakenAddressIsToldOfOnceAndTriedAgain(t *testing.T) {
	r, _ := start(t)
	holder, address := taken(t)
	for range 3 {
		r.Update(map[netip.AddrPort]string{address: "one"})
	}
	_ = holder.Close()
	deadline := time.Now().Add(3 * RetryPeriod)
	for answer(address) != "one" && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if got := answer(address); got != "one" {
		t.Errorf("%q answers once the address is free", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) != 2 || len(r.failures[0]) != 1 || r.failures[0][0].Of != "one" || len(r.failures[1]) != 0 {
		t.Errorf("told of %v, want the failure once and then its end", r.failures)
	}
}
