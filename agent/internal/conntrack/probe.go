package conntrack

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Probe makes a connection's entry and deletes it as Remove does, in a network namespace to
// throw away, that of the calling thread.
func Probe() error {
	const timeout, port = 30, 53
	client, server := net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)
	flow := &netlink.ConntrackFlow{
		FamilyType: unix.AF_INET, TimeOut: timeout,
		Forward: netlink.IPTuple{SrcIP: client, DstIP: server, SrcPort: port, DstPort: port, Protocol: unix.IPPROTO_UDP},
		Reverse: netlink.IPTuple{SrcIP: server, DstIP: client, SrcPort: port, DstPort: port, Protocol: unix.IPPROTO_UDP},
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, flow); err != nil {
		return fmt.Errorf("adding an entry: %w", err)
	}
	// A list may lack entries while somebody else has the kernel's table, which is one for
	// all namespaces, made larger.
	const tries = 10
	for range tries {
		deleted, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, all{})
		if err != nil {
			return fmt.Errorf("deleting an entry: %w", err)
		}
		if deleted > 0 {
			return nil
		}
		time.Sleep(tryAgain)
	}
	return errors.New("the entry that was added is not listed")
}

// tryAgain is how long to wait before the entries are listed again.
const tryAgain = 20 * time.Millisecond

// all matches every entry.
type all struct{}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (all) MatchConntrackFlow(*netlink.ConntrackFlow) bool { return true }
