// Package dataplane says what every data plane can do; the packages below it are
// each the only user of their kernel interface.
package dataplane

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"time"

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
	// IPVS is set if IPVS chooses and translates, else nftables does.
	IPVS *IPVS
}

// IPVS is how IPVS is to work.
type IPVS struct {
	// Scheduler is that of Services that ask for none; empty means round robin.
	Scheduler string
	// The timeouts of connections by state; zero leaves the kernel's.
	TCPTimeout, TCPFinTimeout, UDPTimeout time.Duration
	// StrictARP has the node answer and announce the addresses of its own interfaces alone.
	StrictARP bool
	// Exclude are the addresses whose virtual servers are somebody else's.
	Exclude []netip.Prefix
	// OwnAddrs are the node's own addresses, without those of Services. They need not be
	// bound, and other ports of theirs are not refused.
	OwnAddrs []netip.Addr
}

// ServiceInterface is the dummy interface that has the addresses of Services while IPVS
// serves them.
const ServiceInterface = "portolan-ipvs"

// Warning is what is not in force as a Service asks for it, and does not keep the rest from
// being so.
type Warning struct {
	// Service is "namespace/name".
	Service, Reason, Message string
}

// Difference is one thing in which the kernel is not as it should be.
type Difference struct {
	// Place is "map service-ips", "chain nat-prerouting" or "ipvs".
	Place string
	// Key is what it is about there, such as "TCP 10.96.0.1:80".
	Key string
	// Wanted is what is to be there, Found what is; empty is nothing.
	Wanted, Found string
}

// Compare orders differences by where they are.
func (d Difference) Compare(other Difference) int {
	return cmp.Or(cmp.Compare(d.Place, other.Place), cmp.Compare(d.Key, other.Key))
}

// Content is everything the kernel must do. *ruleset.Table is one.
type Content interface {
	Frontends() iter.Seq[*ruleset.Frontend]
	ClusterIPs() iter.Seq[netip.Addr]
	OutsideIPs() iter.Seq[netip.Addr]
	Hairpins() iter.Seq[ruleset.Hairpin]
	CheckPorts() iter.Seq[uint16]
}

// Dataplane keeps the kernel equal to what it is told, in one address family: what
// is of the other one it leaves to another Dataplane, so that neither's failures
// are the other's. Every call is atomic where the kernel can be: on error it holds what
// it held before, or, of IPVS, what each step that succeeded has made of that; Replace
// then makes it right. A Dataplane belongs to one goroutine.
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
	// Compare reads what the kernel holds and returns how that differs from the content,
	// which is what the last Replace and Applys were to leave. It changes nothing.
	Compare(ctx context.Context, settings Settings, content Content) ([]Difference, error)
	// Warnings returns what is not in force as Services ask for it, by Service.
	Warnings() []Warning
	// Cleanup removes everything of ours from the kernel.
	Cleanup(ctx context.Context) error
	// Close releases the connection to the kernel. The rules stay.
	Close() error
}
