package subscribe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Config says where to subscribe and what to do with what arrives. Addresses,
// Node, Handler and transport credentials among DialOptions are required.
type Config struct {
	// Addresses of the control plane's replicas, "host:port" each, or any target
	// that grpc.NewClient takes and that has a scheme.
	Addresses []string
	// DialOptions must hold the transport credentials.
	DialOptions []grpc.DialOption
	// Node is who subscribes.
	Node *discoveryv1.Node
	// Kinds to receive; the default is every kind that this package knows.
	// Resources of other kinds are skipped.
	Kinds   []discoveryv1.Kind
	Handler Handler
	// Compare, if not nil, tells how the data plane differs from what was handed to
	// Handler, when the control plane asks. Its Id, Revision and Digest are filled in.
	Compare func(context.Context) *discoveryv1.Comparison
	Logger  hclog.Logger
	// Observe is for who only looks: nothing is acknowledged, and so the stream of the
	// node's agent is not taken over. Transactions come at the server's pace.
	Observe bool

	// Held is what the subscriber has from an earlier life, such as a checkpoint,
	// by version; HeldSource is the newest source version that it reflects.
	Held       map[resource.Name]uint64
	HeldSource *discoveryv1.SourceVersion

	// BaseDelay (default 100 ms) and MaxDelay (default 3 s) bound the random pause
	// before a new attempt.
	BaseDelay time.Duration
	MaxDelay  time.Duration
	// KeepaliveTime (default 10 s, which is also grpc's minimum) and
	// KeepaliveTimeout (default 5 s) say when a silent connection is dead.
	KeepaliveTime    time.Duration
	KeepaliveTimeout time.Duration
	// StallTimeout is how long to wait for the first piece of a stream, and for
	// the next piece of a transaction that has begun. Default 30 s.
	StallTimeout time.Duration
	// MaxTransactionBytes bounds one transaction's encoded pieces. Default 256 MiB.
	MaxTransactionBytes int

	// Rand chooses replicas and pauses; Now tells the time. Both have defaults.
	Rand *rand.Rand
	Now  func() time.Time
}

// featureCompare says that a subscriber answers Compare (discovery.proto, Subscribe).
const featureCompare = "compare"

// Handler applies transactions. It is called from one goroutine at a time.
type Handler interface {
	// Apply puts the transaction into force and reports how that went. The context
	// ends with Run, not with the stream. The transaction is the handler's to keep
	// or change.
	Apply(ctx context.Context, tx *Transaction) Result
}

// Transaction is a committed change of what the subscriber holds. No name occurs
// twice in it. It may be empty: then what is held is current.
type Transaction struct {
	// Revision is the snapshot that the transaction leads to, as the sending
	// replica counts; it may be smaller than that of another replica.
	Revision uint64
	// Nonce is what acknowledges the transaction.
	Nonce uint64
	// Source is the point in the cluster's history that the content reflects.
	Source *discoveryv1.SourceVersion
	// Resources are new or changed, or sent again by a repair.
	Resources Resources
	// Removed names held resources that are gone.
	Removed []resource.Name
	// Full is set if the transaction is the whole content: nothing that it does
	// not name remains.
	Full bool
}

// Result says what became of a transaction.
type Result struct {
	// Rejected names resources that cannot be used; the last good state of each
	// stays in force.
	Rejected []*discoveryv1.RejectedResource
	// Warnings are all that a person should know of beside what was applied.
	Warnings []*discoveryv1.Warning
	// Err is set if the transaction could not be applied now.
	Err error
	// ApplyDuration is how long applying took; zero means as long as Apply ran.
	ApplyDuration time.Duration
}

const (
	defaultBaseDelay           = 100 * time.Millisecond
	defaultMaxDelay            = 3 * time.Second
	defaultKeepaliveTime       = 10 * time.Second
	defaultKeepaliveTimeout    = 5 * time.Second
	defaultStallTimeout        = 30 * time.Second
	defaultMaxTransactionBytes = 256 << 20

	connectTimeout = 5 * time.Second
	// window is what the server may send ahead, a piece. It is fixed, because grpc finds
	// out a better one by a ping, and its answer, for every transaction.
	window = 1 << 20
	// maxPiece leaves room for one very large resource in a piece.
	maxPiece = 16 << 20
)

// complete checks the configuration and returns it with its defaults.
func (c Config) complete() (Config, error) {
	switch {
	case len(c.Addresses) == 0:
		return c, errors.New("no control plane address")
	case c.Node.GetId() == "":
		return c, errors.New("node.id is empty: expected the node's name")
	case c.Handler == nil:
		return c, errors.New("no handler")
	}
	if len(c.Kinds) == 0 {
		c.Kinds = resource.Kinds
	}
	for _, kind := range c.Kinds {
		if !slices.Contains(resource.Kinds, kind) {
			return c, fmt.Errorf("kind %s: expected one of those in resource.Kinds", resource.KindName(kind))
		}
	}
	c.BaseDelay = cmp.Or(c.BaseDelay, defaultBaseDelay)
	c.MaxDelay = cmp.Or(c.MaxDelay, defaultMaxDelay)
	c.KeepaliveTime = cmp.Or(c.KeepaliveTime, defaultKeepaliveTime)
	c.KeepaliveTimeout = cmp.Or(c.KeepaliveTimeout, defaultKeepaliveTimeout)
	c.StallTimeout = cmp.Or(c.StallTimeout, defaultStallTimeout)
	c.MaxTransactionBytes = cmp.Or(c.MaxTransactionBytes, defaultMaxTransactionBytes)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// dial makes an idle client connection to one replica. No proxy is asked: the
// control plane is reached directly, whatever HTTPS_PROXY says.
func (c *Config) dial(address string) (*grpc.ClientConn, error) {
	options := append([]grpc.DialOption{
		grpc.WithNoProxy(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.KeepaliveTime, Timeout: c.KeepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPiece)),
		grpc.WithDisableServiceConfig(),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
	}, c.DialOptions...)
	conn, err := grpc.NewClient(target(address), options...)
	if err != nil {
		return nil, fmt.Errorf("control plane address %q: %w", address, err)
	}
	return conn, nil
}

// Dial makes an idle connection to one replica as a subscriber does, to ask it something
// else. The options must hold the transport credentials.
func Dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	config := Config{DialOptions: options, KeepaliveTime: defaultKeepaliveTime, KeepaliveTimeout: defaultKeepaliveTimeout}
	return config.dial(address)
}

// target leaves names to the dialer, which tries all addresses of a host.
func target(address string) string {
	if strings.Contains(address, ":/") {
		return address
	}
	return "passthrough:///" + address
}
