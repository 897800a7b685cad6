// Package conntrack ends UDP connections to endpoints that do not serve any more.
//
// UDP has no end that the kernel could see: a client that goes on sending keeps
// its conntrack entry, and with it the endpoint that was once chosen, for ever.
// So after the rules have changed, entries whose destination is a frontend and
// whose answers come from something that does not serve it are deleted; the next
// packet chooses anew. TCP and SCTP connections end by themselves and are never
// touched.
package conntrack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

const (
	// attempts bounds how often a dump that the kernel interrupted is repeated.
	attempts   = 5
	retryAfter = 50 * time.Millisecond
)

// Cleaner deletes conntrack entries apart from whoever asks for it: a dump of a
// large table takes a while. It is safe for concurrent use.
type Cleaner struct {
	logger  hclog.Logger
	observe Observe

	mu      sync.Mutex
	pending ruleset.Serving
	wake    chan struct{}
}

// Observe is told how many entries of a family a run deleted, and how long it took.
type Observe func(family dataplane.Family, entries uint, took time.Duration)

// New returns a cleaner; Run makes it work.
func New(logger hclog.Logger, observe Observe) *Cleaner {
	return &Cleaner{logger: logger, observe: observe, wake: make(chan struct{}, 1)}
}

// Clean asks for entries of the given frontends to be looked at. Requests that
// wait are merged; of one frontend the last word counts.
func (c *Cleaner) Clean(serving ruleset.Serving) {
	if len(serving) == 0 {
		return
	}
	c.mu.Lock()
	if c.pending == nil {
		c.pending = ruleset.Serving{}
	}
	maps.Copy(c.pending, serving)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run works until the context ends. A failure is logged; it takes nothing away.
func (c *Cleaner) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		c.mu.Lock()
		serving := c.pending
		c.pending = nil
		c.mu.Unlock()
		entries, err := Remove(ctx, serving, c.observe)
		if err != nil {
			c.logger.Warn("cannot remove connections to UDP endpoints that have gone; their clients may wait in vain", "error", err)
		} else if entries > 0 {
			c.logger.Debug("removed connections to UDP endpoints that have gone", "entries", entries)
		}
	}
}

// netfilter has the families by their numbers.
var netfilter = map[dataplane.Family]netlink.InetFamily{dataplane.IPv4: unix.AF_INET, dataplane.IPv6: unix.AF_INET6}

// Remove deletes the entries of frontends whose answers come from something that
// does not serve them, and returns how many. A family without such frontends is not
// looked at.
func Remove(ctx context.Context, serving ruleset.Serving, observe Observe) (uint, error) {
	var total uint
	var errs []error
	for _, family := range []dataplane.Family{dataplane.IPv4, dataplane.IPv6} {
		filter := stale{serving: serving.Family(family == dataplane.IPv6)}
		if len(filter.serving) == 0 {
			continue
		}
		begun := time.Now()
		entries, err := again(ctx, func() (uint, error) {
			return netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netfilter[family], filter)
		})
		observe(family, entries, time.Since(begun))
		total += entries
		if err != nil {
			errs = append(errs, fmt.Errorf("conntrack of %s: %w", family, err))
		}
	}
	return total, errors.Join(errs...)
}

// again repeats what the kernel interrupted (S120). What a partial dump showed has been
// deleted by then.
func again(ctx context.Context, remove func() (uint, error)) (total uint, err error) {
	for range attempts {
		var entries uint
		entries, err = remove()
		total += entries
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR) {
			return total, err
		}
		select {
		case <-ctx.Done():
			return total, err
		case <-time.After(retryAfter):
		}
	}
	return total, err
}

// stale matches entries to be deleted.
type stale struct{ serving ruleset.Serving }

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (s stale) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	destination, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	if !ok {
		return false
	}
	backends, ok := s.serving[ruleset.UDP(netip.AddrPortFrom(destination.Unmap(), flow.Forward.DstPort))]
	if !ok {
		return false
	}
	answers, ok := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return ok && !slices.Contains(backends, netip.AddrPortFrom(answers.Unmap(), flow.Reverse.SrcPort))
}
