package cluster

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Store is the cluster's current objects. It is safe for concurrent use by one
// or more sources and one reader of changes.
type Store struct {
	mu       sync.Mutex
	services map[model.Key]*model.Service
	slices   map[model.Key]*model.Slice
	// byService indexes slices by their owning Service.
	byService map[model.Key]map[string]*model.Slice
	nodes     map[string]*model.Node
	cidrs     map[string]*model.ServiceCIDR
	problems  map[finding][]model.Problem
	observe   func(model.Problem)
	version   model.SourceVersion
	synced    bool
	// sequence counts updates.
	sequence uint64

	dirty   Changes
	changed chan struct{}
}

// Changes says what differs from the time of the last Take.
type Changes struct {
	// Services are the keys of Services that changed themselves or whose slices
	// changed.
	Services map[model.Key]struct{}
	Nodes    map[string]struct{}
	// ServiceCIDRs is set if any ServiceCIDR changed.
	ServiceCIDRs bool
	// Version is the point in the source's history that the changes lead to.
	Version model.SourceVersion
	// Synced tells whether the source has delivered everything once.
	Synced bool
	// Sequence counts the updates that the changes, and those before them, come from.
	Sequence uint64
	// Received is when the first of the changes came from the source; zero if there are none.
	Received time.Time
}

// Empty tells whether nothing has to be compiled.
func (c Changes) Empty() bool {
	return len(c.Services) == 0 && len(c.Nodes) == 0 && !c.ServiceCIDRs
}

// NewStore returns an empty, unsynced store.
func NewStore() *Store {
	return &Store{
		services:  map[model.Key]*model.Service{},
		slices:    map[model.Key]*model.Slice{},
		byService: map[model.Key]map[string]*model.Slice{},
		nodes:     map[string]*model.Node{},
		cidrs:     map[string]*model.ServiceCIDR{},
		problems:  map[finding][]model.Problem{},
		changed:   make(chan struct{}, 1),
	}
}

// Changed receives a value after an Update that changed something, at most one
// for any number of updates.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Update lets fn change several objects as one: no Take sees a part of it.
// Values handed to the Tx must not be changed afterwards.
func (s *Store) Update(fn func(*Tx)) {
	s.mu.Lock()
	s.sequence++
	if s.dirty.Empty() {
		s.dirty.Received = time.Now()
	}
	fn(&Tx{s})
	if s.dirty.Empty() {
		s.dirty.Received = time.Time{} // Progress without a change, as bookmarks tell it.
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Take returns what changed since the last call and forgets it.
func (s *Store) Take() Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.dirty
	taken.Version, taken.Synced, taken.Sequence = s.version, s.synced, s.sequence
	s.dirty = Changes{}
	return taken
}

// Version returns the point in the source's history that the objects are of.
func (s *Store) Version() model.SourceVersion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Sequence counts the updates so far.
func (s *Store) Sequence() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sequence
}

// ServicesWith returns the keys of the Services that have an endpoint of an address, ready or
// not. It looks at all slices.
func (s *Store) ServicesWith(address netip.Addr) []model.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []model.Key
	for key, owned := range s.byService {
		for _, slice := range owned {
			if slices.ContainsFunc(slice.Endpoints, func(e model.Endpoint) bool { return e.Addr == address }) {
				list = append(list, key)
				break
			}
		}
	}
	return list
}

// Service returns a Service, or nil, and its slices ordered by name.
func (s *Store) Service(key model.Key) (*model.Service, []*model.Slice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owned := s.byService[key]
	list := make([]*model.Slice, 0, len(owned))
	for _, slice := range owned {
		list = append(list, slice)
	}
	slices.SortFunc(list, func(a, b *model.Slice) int { return a.Compare(b.Key) })
	return s.services[key], list
}

// Slice returns an EndpointSlice, or nil.
func (s *Store) Slice(key model.Key) *model.Slice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slices[key]
}

// Slices returns all EndpointSlices, ordered by name.
func (s *Store) Slices() []*model.Slice {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*model.Slice, 0, len(s.slices))
	for _, slice := range s.slices {
		list = append(list, slice)
	}
	slices.SortFunc(list, func(a, b *model.Slice) int { return a.Compare(b.Key) })
	return list
}

// Services returns the keys of all Services, in no order.
func (s *Store) Services() []model.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keys(s.services)
}

// Node returns a Node, or nil.
func (s *Store) Node(name string) *model.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[name]
}

// Nodes returns all Nodes, ordered by name.
func (s *Store) Nodes() []*model.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*model.Node, 0, len(s.nodes))
	for _, node := range s.nodes {
		list = append(list, node)
	}
	slices.SortFunc(list, func(a, b *model.Node) int { return model.Key{Name: a.Name}.Compare(model.Key{Name: b.Name}) })
	return list
}

// CountNodes returns how many Nodes there are.
func (s *Store) CountNodes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nodes)
}

// ServiceCIDRs returns all ServiceCIDRs, ordered by name.
func (s *Store) ServiceCIDRs() []*model.ServiceCIDR {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*model.ServiceCIDR, 0, len(s.cidrs))
	for _, cidr := range s.cidrs {
		list = append(list, cidr)
	}
	slices.SortFunc(list, func(a, b *model.ServiceCIDR) int { return model.Key{Name: a.Name}.Compare(model.Key{Name: b.Name}) })
	return list
}
