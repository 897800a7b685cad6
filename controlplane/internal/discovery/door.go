package discovery

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portolan-net/portolan/controlplane/internal/limit"
)

const (
	// rememberedNodes and rememberedPeers bound the memory of the rates.
	rememberedNodes = 1 << 15
	rememberedPeers = 1 << 14
	// maxWait is the longest that a subscriber is told to stay away. It does not stay
	// away for longer, whatever it is told.
	maxWait = 30 * time.Second
	// peerBits is what one owner has of IPv6 addresses.
	peerBits = 64
)

// takeoverRate is how often an agent may be replaced by another, as in an update,
// until that is said of the node.
var takeoverRate = limit.Rate{Burst: 3, Every: time.Minute}

// door lets streams in: so many at a time, and so many a second of one peer and of
// one node.
type door struct {
	log      hclog.Logger
	now      func() time.Time
	counters *counters
	max      int64

	mu sync.Mutex
	// takeovers finds nodes of which several agents say that they are theirs.
	peers, nodes, takeovers *limit.Buckets
}

func newDoor(cfg Config, counters *counters) *door {
	return &door{
		log: cfg.Logger, now: cfg.Now, counters: counters, max: int64(cfg.MaxStreams),
		peers: limit.New(cfg.PeerRate, rememberedPeers), nodes: limit.New(cfg.NodeRate, rememberedNodes),
		takeovers: limit.New(takeoverRate, rememberedNodes),
	}
}

// enter lets a stream in, or refuses it before anything is done for it. The caller
// must leave in either case.
func (d *door) enter(ctx context.Context) error {
	if open := d.counters.streams.Add(1); open > d.max {
		d.counters.overfull.Add(1)
		return exhausted(maxWait, "%d streams are open, as many as may be", d.max)
	}
	name := peerName(ctx)
	if verdict := d.use(d.peers, name); verdict.Refused {
		d.counters.peerLimited.Add(1)
		if verdict.First {
			d.log.Warn("a peer opens streams faster than it may; some are refused", "peer", name)
		}
		return exhausted(verdict.Wait, "peer %s opens streams too fast", name)
	}
	return nil
}

func (d *door) leave() { d.counters.streams.Add(-1) }

// admit lets a node's stream in.
func (d *door) admit(node string) error {
	verdict := d.use(d.nodes, node)
	if !verdict.Refused {
		return nil
	}
	d.counters.nodeLimited.Add(1)
	if verdict.First {
		d.log.Warn("a node opens streams faster than it may; some are refused", "node", node)
	}
	return exhausted(verdict.Wait, "streams of node %q are opened too fast; are there several agents of this name?", node)
}

// contested tells whether agents take a node from each other.
func (d *door) contested(node string) bool { return d.use(d.takeovers, node).Refused }

func (d *door) use(buckets *limit.Buckets, name string) limit.Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	return buckets.Use(d.now(), name)
}

// exhausted tells a subscriber to stay away for a while.
func exhausted(wait time.Duration, format string, args ...any) error {
	wait = min(wait, maxWait)
	st := status.New(codes.ResourceExhausted, fmt.Sprintf(format, args...)+": come back in "+wait.String())
	detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

// peerName is what a peer is counted as: its address without the port and, of an IPv6
// address, without what its owner can choose.
func peerName(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return p.Addr.String()
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, peerBits).Masked().String()
}
