package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

const (
	// gather is how long ended connections may wait so that many are read at once.
	gather = 50 * time.Millisecond
	// again is when to try once more after the kernel did not answer.
	again = 30 * time.Second
	// missed is in how many tables an entry must be missing until it is forgotten: the
	// kernel may leave some out while it makes the table larger.
	missed = 2
)

// Count is what was counted of a Service since the process began.
type Count struct {
	// Service is "namespace/name".
	Service string
	// Connections that began, and of those that are in the table now, Open ones.
	Connections, Open uint64
	// RequestBytes were sent by clients, ReplyBytes to them, with headers.
	RequestBytes, ReplyBytes uint64
}

// Meter counts. It is safe for concurrent use.
type Meter struct {
	period time.Duration
	logger hclog.Logger

	mu        sync.Mutex
	frontends map[ruleset.Key]*service
	services  map[string]*service
	lost      uint64

	// flows has the connections of Services that were in the table. It and tables belong to
	// Run.
	flows  map[flowID]seen
	tables uint64
}

type service struct {
	Count
	frontends int
	// opening is what will be Open once the table is read.
	opening uint64
}

// seen is a connection as it was last.
type seen struct {
	of             *service
	sent, received uint64
	// table is the number of the last table that had it.
	table uint64
}

// New returns a meter that reads the table once in a period. Run makes it work.
func New(period time.Duration, logger hclog.Logger) *Meter {
	return &Meter{period: period, logger: logger,
		frontends: map[ruleset.Key]*service{}, services: map[string]*service{}, flows: map[flowID]seen{}}
}

// Update says which frontends there are, by what has changed.
func (m *Meter) Update(changes []ruleset.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, change := range changes {
		key := change.Key()
		old := m.frontends[key]
		if change.New != nil {
			m.frontends[key] = m.join(change.New.Service)
		} else {
			delete(m.frontends, key)
		}
		if old == nil {
			continue
		}
		if old.frontends--; old.frontends == 0 {
			delete(m.services, old.Service)
		}
	}
}

func (m *Meter) join(name string) *service {
	s := m.services[name]
	if s == nil {
		s = &service{Count: Count{Service: name}}
		m.services[name] = s
	}
	s.frontends++
	return s
}

// Counts returns the counts of the Services that had connections, by name.
func (m *Meter) Counts() []Count {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Count
	for _, s := range m.services {
		if s.Connections > 0 || s.Open > 0 {
			list = append(list, s.Count)
		}
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Compare(a.Service, b.Service) })
	return list
}

// Lost returns how often the kernel had more ended connections to tell of than it could keep.
func (m *Meter) Lost() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// Run counts until the context ends. A failure is logged, and it tries again.
func (m *Meter) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := m.count(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		m.logger.Warn("cannot count connections of Services", "error", err, "next attempt in", again)
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
	return nil
}

func (m *Meter) count(ctx context.Context) (err error) {
	table, err := openTable()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, table.close()) }()
	// What is there has been counted by an earlier process, or began before anybody counted.
	if err := m.look(table, true); err != nil {
		return err
	}
	events, err := openEvents()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, events.close()) }()
	waiter, err := newWaiter(ctx, events.fd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, waiter.close()) }()
	next := time.Now().Add(m.period)
	for ctx.Err() == nil {
		if err := waiter.wait(time.Until(next)); err != nil {
			return err
		}
		lost, err := events.drain(m.ended)
		if err != nil {
			return err
		}
		if lost {
			m.mu.Lock()
			m.lost++
			m.mu.Unlock()
		}
		if !time.Now().Before(next) {
			if err := m.look(table, false); err != nil {
				return err
			}
			next = time.Now().Add(m.period)
		}
	}
	return nil
}

// look reads the table. The first time what it has is not counted, but from then on.
func (m *Meter) look(table *socket, first bool) error {
	m.tables++
	err := table.list(func(b []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for f := range flowsOf(b, entryMessage) {
			m.see(&f, first)
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.services {
		if err == nil {
			s.Open = s.opening
		}
		s.opening = 0
	}
	if err != nil {
		return err
	}
	maps.DeleteFunc(m.flows, func(_ flowID, known seen) bool { return known.table+missed <= m.tables })
	return nil
}

// recall returns a connection as it was seen last, and counts it if it was not. It is false if
// it is none of a Service. Of those that are there the first time nothing is counted.
func (m *Meter) recall(f *flow, first bool) (seen, bool) {
	if known, ok := m.flows[f.id]; ok {
		return known, true
	}
	s := m.frontends[f.to]
	if s == nil || !f.translated {
		return seen{}, false
	}
	if first {
		return seen{of: s, sent: f.sent, received: f.received}, true
	}
	s.Connections++
	return seen{of: s}, true
}

// see counts what a connection has grown by since it was seen last.
func (m *Meter) see(f *flow, first bool) {
	known, ok := m.recall(f, first)
	if !ok {
		return
	}
	known.grow(f)
	known.table = m.tables
	m.flows[f.id] = known
	if f.open {
		known.of.opening++
	}
}

// ended counts connections that the kernel has forgotten.
func (m *Meter) ended(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for f := range flowsOf(b, endMessage) {
		known, ok := m.recall(&f, false)
		if !ok {
			continue
		}
		known.grow(&f)
		delete(m.flows, f.id)
	}
}

// grow counts the bytes since the connection was seen last. Some kernels do not say them of
// what has ended.
func (s *seen) grow(f *flow) {
	if f.sent > s.sent {
		s.of.RequestBytes += f.sent - s.sent
		s.sent = f.sent
	}
	if f.received > s.received {
		s.of.ReplyBytes += f.received - s.received
		s.received = f.received
	}
}

// waiter waits for a socket or the end of a context.
type waiter struct {
	fds  []unix.PollFd
	pipe [2]int
	stop func() bool
	// written is closed once the context's end was noted.
	written chan struct{}
}

func newWaiter(ctx context.Context, fd int) (*waiter, error) {
	w := &waiter{written: make(chan struct{})}
	if err := unix.Pipe2(w.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	w.fds = []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(w.pipe[0]), Events: unix.POLLIN}}
	w.stop = context.AfterFunc(ctx, func() {
		defer close(w.written)
		_, _ = unix.Write(w.pipe[1], []byte{0})
	})
	return w, nil
}

func (w *waiter) close() error {
	if !w.stop() {
		<-w.written
	}
	return errors.Join(unix.Close(w.pipe[0]), unix.Close(w.pipe[1]))
}

// wait returns once there is something to read, a little later so that there is more, or the
// time is over, or the context is.
func (w *waiter) wait(most time.Duration) error {
	n, err := unix.Poll(w.fds, int(max(most, 0)/time.Millisecond)+1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for connections to end: %w", err)
	}
	if n > 0 && w.fds[1].Revents == 0 {
		time.Sleep(gather)
	}
	return nil
}
