package admission

import (
	"net/netip"
	"slices"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Writer puts a source's objects into a store. It is safe for concurrent use; all
// its state is used under the store's lock.
type Writer struct {
	store    *cluster.Store
	log      hclog.Logger
	services map[model.Key]*service
	slices   map[model.Key]*slice
	claims   claims
	cidrs    ranges
	// outside finds Services by their external and load balancer IPs, endpoints
	// finds slices by the addresses in them.
	outside   index[*service]
	endpoints index[*slice]
	limits    Limits
	observers []Observer
}

// Observer is told of a source's objects as they are, in force or not.
type Observer interface {
	ServiceSet(*corev1.Service)
	ServiceDeleted(model.Key)
	SliceSet(*discoveryv1.EndpointSlice)
	SliceDeleted(model.Key)
}

// Limits bounds what one object may cost every node. The API server lets through
// Services of 8,000 ports.
type Limits struct {
	// PortsPerService is how many ports a Service may have; zero means any number.
	PortsPerService int
}

// DefaultPortsPerService is far above what clusters have, and far below what would
// hurt them.
const DefaultPortsPerService = 256

// DefaultLimits returns the limits that hold unless somebody sets others.
func DefaultLimits() Limits { return Limits{PortsPerService: DefaultPortsPerService} }

// slice is what is known of an EndpointSlice.
type slice struct {
	key      model.Key
	value    *model.Slice
	problems []model.Problem
	dirty    bool
}

// NewWriter returns the writer of a store, which must have no other.
func NewWriter(store *cluster.Store, log hclog.Logger, limits Limits) *Writer {
	return &Writer{
		limits:    limits,
		store:     store,
		log:       log,
		services:  map[model.Key]*service{},
		slices:    map[model.Key]*slice{},
		claims:    claims{},
		cidrs:     ranges{},
		outside:   newIndex[*service](),
		endpoints: newIndex[*slice](),
	}
}

// Observe has an observer told of what comes after it.
func (w *Writer) Observe(o Observer) { w.observers = append(w.observers, o) }

// Update lets fn change several objects as one. Nobody sees a part of it.
func (w *Writer) Update(fn func(*Batch)) {
	w.store.Update(func(tx *cluster.Tx) {
		b := &Batch{w: w, tx: tx, touched: map[netip.Addr]struct{}{}}
		fn(b)
		b.flush()
	})
}

// Batch changes a store inside Update.
type Batch struct {
	w  *Writer
	tx *cluster.Tx
	// ask are Services to decide on, touched ClusterIPs whose holder may change.
	ask     []*service
	touched map[netip.Addr]struct{}
	// services and slices are to be put into the store anew.
	services []*service
	slices   []*slice
}

// SetVersion records the point in the source's history.
func (b *Batch) SetVersion(version model.SourceVersion) { b.tx.SetVersion(version) }

// Version returns the recorded point in the source's history.
func (b *Batch) Version() model.SourceVersion { return b.tx.Version() }

// SetSynced records that the source has delivered everything once.
func (b *Batch) SetSynced() { b.tx.SetSynced() }

// SetProblems replaces what is wrong with something that is not an object, such as
// "file web.yaml"; none means it is well.
func (b *Batch) SetProblems(object string, problems []model.Problem) {
	if slices.Equal(b.tx.Problems(object), problems) {
		return
	}
	for _, problem := range problems {
		if !slices.Contains(b.tx.Problems(object), problem) {
			b.w.log.Warn("ignored what cannot be put into force", "problem", problem.String())
		}
	}
	b.tx.SetProblems(object, problems)
}

// flush decides what changed and puts it into the store.
func (b *Batch) flush() {
	b.decide()
	for addr := range b.touched {
		b.w.outside.each(addr, b.markService)
		b.w.endpoints.each(addr, b.markSlice)
	}
	for _, s := range b.services {
		b.putService(s)
	}
	for _, s := range b.slices {
		b.putSlice(s)
	}
}

func (b *Batch) markService(s *service) {
	if !s.dirty {
		s.dirty = true
		b.services = append(b.services, s)
	}
}

func (b *Batch) markSlice(s *slice) {
	if !s.dirty {
		s.dirty = true
		b.slices = append(b.slices, s)
	}
}
