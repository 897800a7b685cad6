// Package netlab makes network namespaces, joins them, and opens sockets and starts
// processes in them, all from one process.
//
// A namespace belongs to a thread. Each has a thread of its own that stays in it for
// as long as the process lives: it keeps the namespace, starts processes there
// (whose death signal is bound to the thread that started them), and gives other
// programs something to enter by. Everything else runs on threads of the moment.
package netlab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace.
type Namespace struct {
	Name string
	// Thread is the id of the thread that stays in it: /proc/<Thread>/ns/net.
	Thread int

	handle netns.NsHandle
	links  *netlink.Handle
	work   chan func()
}

// New makes a namespace.
func New(name string) (*Namespace, error) { return keep(name, netns.New) }

// Current returns the namespace that the process runs in.
func Current(name string) (*Namespace, error) { return keep(name, netns.Get) }

func keep(name string, enter func() (netns.NsHandle, error)) (*Namespace, error) {
	n := &Namespace{Name: name, work: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread stays.
		var err error
		n.handle, err = enter()
		n.Thread = unix.Gettid()
		entered <- err
		for f := range n.work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("making the network namespace %s: %w", name, err)
	}
	links, err := netlink.NewHandleAt(n.handle)
	if err != nil {
		return nil, fmt.Errorf("opening netlink in %s: %w", name, err)
	}
	n.links = links
	// Or devices wait a second for somebody with the same IPv6 address to object. It
	// is no more than a second, so a kernel that refuses is no error.
	_ = n.Sysctl("ipv6/conf/default/accept_dad", "0")
	return n, n.up("lo")
}

// Start starts a process in the namespace; it is killed when this process dies.
func (n *Namespace) Start(command *exec.Cmd) error {
	command.SysProcAttr = &unix.SysProcAttr{
		Pdeathsig: unix.SIGKILL,
		Setpgid:   true, // Ctrl-C is for us; we end it.
	}
	started := make(chan error)
	n.work <- func() { started <- command.Start() }
	return <-started
}

// Do runs f on a thread in the namespace. Sockets that it opens stay there.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it its place
		// in the namespace.
		runtime.LockOSThread()
		if err := netns.Set(n.handle); err != nil {
			done <- fmt.Errorf("entering the network namespace %s: %w", n.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Dial connects from the namespace to an "address:port". It may be called within Do.
func Dial(ctx context.Context, address string, timeout time.Duration) (net.Conn, error) {
	// A literal address is dialled on the caller's thread.
	return (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
}

// Listen listens in the namespace.
func (n *Namespace) Listen(address string) (listener net.Listener, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	err = n.Do(func() error {
		listener, err = config.Listen(context.Background(), "tcp", address)
		return err
	})
	return listener, err
}

// Sysctl sets a kernel parameter of the namespace, such as "ipv4/ip_forward".
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error {
		path := "/proc/sys/net/" + name
		if now, err := os.ReadFile(path); err == nil && string(now) == value+"\n" {
			return nil // Containers may have /proc/sys read-only.
		}
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("setting %s in the network namespace %s: %w", path, n.Name, err)
		}
		return nil
	})
}
