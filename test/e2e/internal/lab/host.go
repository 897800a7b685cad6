package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Host is something with a network namespace: the node, a pod, a machine outside.
type Host struct {
	Name string
	// IP is the address that others reach it by.
	IP string

	namespace netns.NsHandle
	links     *netlink.Handle
	// listener is what serves.
	listener net.Listener
}

// newHost returns a host in a new namespace.
func newHost(name, ip string) (*Host, error) {
	h := &Host{Name: name, IP: ip}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends, the handle keeps the namespace.
		var err error
		h.namespace, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making the network namespace of %s: %w", name, err)
	}
	return h, h.open()
}

// open opens netlink in the namespace and brings loopback up.
func (h *Host) open() (err error) {
	if h.links, err = netlink.NewHandleAt(h.namespace); err != nil {
		return fmt.Errorf("opening netlink in %s: %w", h.Name, err)
	}
	return h.up("lo")
}

// Do runs f on a thread in the host's namespace. Sockets that it opens stay there.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		if err := netns.Set(h.namespace); err != nil {
			done <- fmt.Errorf("entering the network namespace of %s: %w", h.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Visit runs f on the calling thread in the host's namespace and returns from there.
// The calling goroutine must be locked to its thread.
func (h *Host) Visit(f func() error) error {
	home, err := netns.Get()
	if err != nil {
		return fmt.Errorf("finding the namespace of the thread: %w", err)
	}
	defer home.Close()
	if err := netns.Set(h.namespace); err != nil {
		return fmt.Errorf("entering the network namespace of %s: %w", h.Name, err)
	}
	err = f()
	return errors.Join(err, netns.Set(home))
}

// Dial connects to an "address:port" from the calling thread's namespace; call it
// within Do.
func Dial(address string, timeout time.Duration) (net.Conn, error) {
	// A literal address is dialled on the calling thread.
	return (&net.Dialer{Timeout: timeout}).Dial("tcp4", address)
}

// Serve runs a TCP server that says the host's name in a line and then repeats
// what it hears. It serves until StopServing, or as long as the test runs.
func (h *Host) Serve(port int) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return h.Do(func() error {
		listener, err := config.Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		h.listener = listener
		go h.accept(listener)
		return nil
	})
}

// StopServing refuses connections from now on.
func (h *Host) StopServing() error { return h.listener.Close() }

// Get asks an HTTP server and returns its answer's status and text.
func (h *Host) Get(url string, timeout time.Duration) (status int, text string, err error) {
	err = h.Do(func() error {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		connection, err := Dial(request.URL.Host, timeout)
		if err != nil {
			return err
		}
		defer connection.Close()
		// It is connected already, on the thread that is in the host's namespace.
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return connection, nil }}
		response, err := (&http.Client{Transport: transport, Timeout: timeout}).Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		status, text = response.StatusCode, string(body)
		return err
	})
	return status, text, err
}

func (h *Host) accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			if _, err := fmt.Fprintln(connection, h.Name); err == nil {
				repeat(connection)
			}
		}()
	}
}

func repeat(connection net.Conn) {
	buffer := make([]byte, 1024)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:n]); err != nil {
			return
		}
	}
}
