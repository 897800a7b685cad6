package discovery

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/limit"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// Config says what to serve and within which bounds. Snapshots and Nodes are
// required; everything else has a default.
type Config struct {
	Snapshots *snapshot.Store
	Nodes     *nodes.Registry
	Logger    hclog.Logger
	// Authorize gives the stream's peer the right to the node's view, or not. An error
	// that has no gRPC status becomes PERMISSION_DENIED. Nil allows everybody.
	Authorize func(ctx context.Context, node string) (nodeauth.Grant, error)
	// Doubt tells whether a subscriber that resumes with so many Services, or more, must
	// not be brought to a view that has so many, because they may only seem to be gone.
	// Nil never doubts.
	Doubt func(held, served int) bool
	// Observe is told of each first acknowledgement of a transaction; may be nil.
	Observe func(Acknowledged)
	// Pushed is told of each transaction that a change causes, as it is begun; may be nil. The
	// first of a stream is none of these, and may be an observer's, who does not answer.
	// It is called where many nodes are sent to, and must not wait.
	Pushed func(Pushed)
	// Events is told of what people should hear of; may be nil. It must not wait.
	Events Events
	Now    func() time.Time

	// PieceBytes bounds a piece, if one resource alone is not larger. Default 1 MiB.
	PieceBytes int
	// AckTimeout is how long a subscriber may take to receive a piece, and to apply
	// and acknowledge a transaction. Default 30 s.
	AckTimeout time.Duration
	// SubscribeTimeout is how long a stream may wait with its first request.
	// Default 10 s.
	SubscribeTimeout time.Duration
	// CatchUp is how long to wait for a snapshot that is not older than what the
	// subscriber has seen. Default 2 s.
	CatchUp time.Duration
	// ObserverInterval spaces the transactions to an observer. Default 1 s.
	ObserverInterval time.Duration
	// FullSyncs is how many streams may be sent most of their view at the same
	// time (default 32), FullSyncQueue how many more may wait for that (1024), and
	// FullSyncWait for how long (10 s). Others are to come back after RetryAfter (2 s).
	FullSyncs     int
	FullSyncQueue int
	FullSyncWait  time.Duration
	RetryAfter    time.Duration
	// SlotTimeout is how long one piece of a full sync may take until another may begin
	// in its place: who does not read holds nobody up. Default 2 s.
	SlotTimeout time.Duration

	// MaxStreams bounds the open streams. Default 20,000.
	MaxStreams int
	// NodeRate and PeerRate bound how fast streams of one node, and from one address,
	// are opened. Many nodes may share an address. Default 10 and then one a second,
	// and 1,000 and then 100 a second.
	NodeRate, PeerRate limit.Rate
	// StreamAge is after how long, give or take a tenth, a stream ends while nothing is
	// on its way, so that nodes spread over the replicas anew. Default 30 min.
	StreamAge time.Duration
	// Random returns a number from 0 up to 1. It must be safe for concurrent use.
	Random func() float64
}

// Events hears what nodes do and say, each thing once.
type Events interface {
	// AgentStarted is called when an agent's process connects for the first time.
	AgentStarted(peer nodes.Peer)
	// NodeWarned and NodeRejected are called when a node complains anew.
	NodeWarned(node string, warning *discoveryv1.Warning)
	NodeRejected(node string, rejected *discoveryv1.RejectedResource)
}

// Pushed describes a transaction that a node is sent.
type Pushed struct {
	Node string
	// From is the revision that the node has been told of before, on the same stream, or
	// zero; To is the one that the transaction leads to.
	From, To uint64
	// At is when sending began.
	At time.Time
}

// Acknowledged describes a transaction that a node has answered for the first time.
type Acknowledged struct {
	// Pushed says which transaction it is.
	Pushed
	// Received is when the answer came.
	Received time.Time
	// SinceCommit is the time from the snapshot's commit to the Ack; zero for the
	// first transaction of a stream, which is not caused by a change.
	SinceCommit time.Duration
	// Apply is what the node says it took.
	Apply time.Duration
	// Resources and Bytes were sent.
	Resources, Bytes int
	// Kernel is set if the node could not apply the transaction, Rejected if it could not
	// use resources, of it or of one before.
	Kernel, Rejected bool
	// FullSync is set if the transaction carried much of the node's view.
	FullSync bool
	// Reason says for people why the transaction is not in force whole; else it is empty.
	Reason string
}

// Failed tells whether the transaction is not in force whole.
func (a Acknowledged) Failed() bool { return a.Kernel || a.Rejected }

// DefaultMaxStreams is how many streams may be open unless somebody says otherwise.
const DefaultMaxStreams = 20_000

const (
	defaultPieceBytes       = 1 << 20
	defaultAckTimeout       = 30 * time.Second
	defaultSubscribeTimeout = 10 * time.Second
	defaultCatchUp          = 2 * time.Second
	defaultObserverInterval = time.Second
	defaultFullSyncs        = 32
	defaultFullSyncQueue    = 1024
	defaultFullSyncWait     = 10 * time.Second
	defaultRetryAfter       = 2 * time.Second
	defaultSlotTimeout      = 2 * time.Second
	defaultStreamAge        = 30 * time.Minute
)

var (
	defaultNodeRate = limit.Rate{Burst: 10, Every: time.Second}
	defaultPeerRate = limit.Rate{Burst: 1000, Every: 10 * time.Millisecond}
)

func (c Config) complete() (Config, error) {
	if c.Snapshots == nil || c.Nodes == nil {
		return c, errors.New("discovery: Snapshots and Nodes are required")
	}
	c.PieceBytes = cmp.Or(c.PieceBytes, defaultPieceBytes)
	c.AckTimeout = cmp.Or(c.AckTimeout, defaultAckTimeout)
	c.SubscribeTimeout = cmp.Or(c.SubscribeTimeout, defaultSubscribeTimeout)
	c.CatchUp = cmp.Or(c.CatchUp, defaultCatchUp)
	c.ObserverInterval = cmp.Or(c.ObserverInterval, defaultObserverInterval)
	c.FullSyncs = cmp.Or(c.FullSyncs, defaultFullSyncs)
	c.FullSyncQueue = cmp.Or(c.FullSyncQueue, defaultFullSyncQueue)
	c.FullSyncWait = cmp.Or(c.FullSyncWait, defaultFullSyncWait)
	c.RetryAfter = cmp.Or(c.RetryAfter, defaultRetryAfter)
	c.SlotTimeout = cmp.Or(c.SlotTimeout, defaultSlotTimeout)
	c.MaxStreams = cmp.Or(c.MaxStreams, DefaultMaxStreams)
	c.NodeRate = cmp.Or(c.NodeRate, defaultNodeRate)
	c.PeerRate = cmp.Or(c.PeerRate, defaultPeerRate)
	c.StreamAge = cmp.Or(c.StreamAge, defaultStreamAge)
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}
