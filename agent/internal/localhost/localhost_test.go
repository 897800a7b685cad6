package localhost

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

const patience = 5 * time.Second

// echo listens on a port of its own and answers with what it hears, once it has heard
// all, as somebody who waits for the end of half a connection.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				all, _ := io.ReadAll(connection)
				_, _ = connection.Write(all)
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func start(t *testing.T) *Server {
	t.Helper()
	server := New(hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server
}

// say connects, says something, ends its half and returns the answer.
func say(t *testing.T, to netip.AddrPort, what string) (string, error) {
	t.Helper()
	connection, err := net.DialTimeout("tcp", to.String(), patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err := connection.Write([]byte(what)); err != nil {
		return "", err
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(connection)
	return string(answer), err
}

func TestConnectionsArePassedOnToTheNodePort(t *testing.T) {
	server, behind := start(t), echo(t)
	listen := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), behind.Port())
	server.Update([]ruleset.LocalhostPort{{Listen: listen, To: behind, Service: "demo/web"}})
	if answer, err := say(t, listen, "both ways"); err != nil || answer != "both ways" {
		t.Errorf("got %q, %v", answer, err)
	}
	other := echo(t)
	server.Update([]ruleset.LocalhostPort{{Listen: listen, To: other, Service: "demo/web"}})
	if answer, err := say(t, listen, "elsewhere"); err != nil || answer != "elsewhere" {
		t.Errorf("after a change: got %q, %v", answer, err)
	}
	server.Update(nil)
	if _, err := say(t, listen, "gone"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the port has gone: %v, want that it is refused", err)
	}
}

func TestANodePortThatRefusesIsSeenToDoSo(t *testing.T) {
	server, behind := start(t), echo(t)
	listen := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), behind.Port())
	nobody := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), behind.Port())
	server.Update([]ruleset.LocalhostPort{{Listen: listen, To: nobody, Service: "demo/web"}})
	if answer, err := say(t, listen, "anybody?"); err == nil {
		t.Errorf("got %q, want a reset", answer)
	}
}
