// Package dataplane says what every data plane can do; the packages below it are
// each the only user of their kernel interface.
package dataplane

import (
	"context"
	"iter"
	"net/netip"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Family is an address family, as Kubernetes names it.
type Family string

// The address families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// Settings is what a data plane needs of the node's and the cluster's
// configuration.
type Settings struct {
	Detect          discoveryv1.DetectLocalMode
	DetectCIDRs     []netip.Prefix
	DetectInterface string
	MasqueradeAll   bool
	MasqueradeBit   uint32
	// TCPBeLiberal means that conntrack accepts TCP packets beyond the window, so
	// that there is no need to drop what it calls invalid.
	TCPBeLiberal bool
	// ServiceCIDRs are dropped where no Service owns the address.
	ServiceCIDRs []netip.Prefix
}

// Content is everything the kernel must do. *ruleset.Table is one.
type Content interface {
	Frontends() iter.Seq[*ruleset.Frontend]
	ClusterIPs() iter.Seq[netip.Addr]
	Hairpins() iter.Seq[ruleset.Hairpin]
}

// Dataplane keeps the kernel equal to what it is told, in one address family: what
// is of the other one it leaves to another Dataplane, so that neither's failures
// are the other's. Every call is atomic: on error the kernel holds what it held
// before. A Dataplane belongs to one goroutine.
type Dataplane interface {
	// Family returns the address family.
	Family() Family
	// Supported tells whether the node has the family; without it there is nothing
	// to hold, and Replace and Apply succeed.
	Supported() bool
	// Exists tells whether the kernel holds rules of ours from before.
	Exists(ctx context.Context) (bool, error)
	// Adopt takes what an earlier agent left for what Replace would have left, if it is
	// that to the last element, and tells whether it is. It changes nothing.
	Adopt(ctx context.Context, settings Settings, content Content) bool
	// Replace makes the kernel hold exactly the content, whatever it holds now.
	// Client affinity is kept where possible.
	Replace(ctx context.Context, settings Settings, content Content) error
	// Apply makes a change to what the last Replace and Applys left.
	Apply(ctx context.Context, changes *ruleset.Changes) error
	// Collect removes what Apply left for packets in flight, as far as it was there
	// at the Collect before. It tells whether it removed anything.
	Collect(ctx context.Context) (bool, error)
	// Pending tells whether there is something for Collects to remove.
	Pending() bool
	// Disturbed tells whether somebody else has changed what the last Replace and
	// Applys left, or whether the node has got or lost the family; after that only
	// Replace helps. It is cheap when nobody has.
	Disturbed(ctx context.Context) (bool, error)
	// Cleanup removes everything of ours from the kernel.
	Cleanup(ctx context.Context) error
	// Close releases the connection to the kernel. The rules stay.
	Close() error
}
