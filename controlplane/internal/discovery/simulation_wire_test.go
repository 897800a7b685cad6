package discovery

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// cable is one connection between a follower and a site. It can break, at once or
// after some bytes, and carries nothing while the two are cut off from each other.
type cable struct {
	f       *follower
	site    *site
	process *process
	once    sync.Once
	gone    chan struct{}

	mu sync.Mutex
	// left is how many bytes to the follower it still carries; negative is no bound.
	left int
}

// Network implements net.Addr: a stream tells its connection by its peer's address.
func (c *cable) Network() string { return "cable" }

func (c *cable) String() string { return c.site.address }

func (c *cable) snap() { c.once.Do(func() { close(c.gone) }) }

func (c *cable) cutAfter(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = bytes
}

// carry waits while the two are cut off. It returns false if the cable is broken.
func (c *cable) carry(down int) bool {
	for heal := c.f.wall(c.site); heal != nil; heal = c.f.wall(c.site) {
		select {
		case <-heal:
		case <-c.gone:
			return false
		}
	}
	c.mu.Lock()
	if c.left >= 0 {
		if c.left -= down; c.left < 0 {
			c.left = 0
			c.snap()
		}
	}
	c.mu.Unlock()
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// wired is a connection over a cable.
type wired struct {
	net.Conn
	cable *cable
}

func (w *wired) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if !w.cable.carry(n) {
		_ = w.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

func (w *wired) Write(p []byte) (int, error) {
	if !w.cable.carry(0) {
		_ = w.Close()
		return 0, net.ErrClosed
	}
	return w.Conn.Write(p)
}

// RemoteAddr implements net.Conn.
func (w *wired) RemoteAddr() net.Addr { return w.cable }

// Close ends the connection. The other end does not hear of it while the two are cut off:
// it has to find out by its pings.
func (w *wired) Close() error {
	w.cable.snap()
	if w.cable.f.wall(w.cable.site) != nil {
		return w.SetReadDeadline(time.Now())
	}
	return w.Conn.Close()
}

func addressOf(i int) string { return fmt.Sprintf("cp:%d", i+1) }
