package nodes

import (
	"container/list"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

const (
	defaultKeep = time.Hour
	defaultMax  = 20_000
	// sweepInterval spaces the search for entries to forget.
	sweepInterval = time.Minute
)

// Config says what a Registry remembers.
type Config struct {
	// Now tells the time. Required.
	Now func() time.Time
	// Keep is how long a node that is not connected is remembered. Default 1 h.
	Keep time.Duration
	// Max is how many nodes that are not connected are remembered. Default 20,000.
	Max int
	// Known tells whether the cluster has the node: then it is remembered longer
	// than Keep. May be nil.
	Known func(node string) bool
}

// Registry knows the nodes that are or were connected. It is safe for concurrent
// use.
type Registry struct {
	cfg Config

	mu     sync.Mutex
	byName map[string]*record
	// gone has the records without a connection, the longest gone first.
	gone  *list.List
	swept time.Time
}

type record struct {
	status Status
	// owner is the connection that may report; nil if there is none.
	owner *Connection
	// refused is the instance whose stream was refused last.
	refused string
	// element is the record's place in gone; nil while connected.
	element *list.Element
}

// NewRegistry returns an empty registry.
func NewRegistry(cfg Config) *Registry {
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.Max == 0 {
		cfg.Max = defaultMax
	}
	return &Registry{cfg: cfg, byName: map[string]*record{}, gone: list.New()}
}

// Connect lists a node as connected, instead of its connection before.
func (r *Registry) Connect(peer Peer) *Connection {
	peer.AgentVersion, peer.Instance = bounded(peer.AgentVersion), bounded(peer.Instance)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.byName[peer.Node]
	if at == nil {
		at = &record{}
		r.byName[peer.Node] = at
	}
	if at.element != nil {
		r.gone.Remove(at.element)
		at.element = nil
	}
	old := at.status
	at.status = Status{
		Peer: peer, Connected: true, ConnectedAt: r.cfg.Now(), Diverged: old.Diverged,
		FullSyncs: old.FullSyncs, DigestMismatches: old.DigestMismatches,
		// Until its first word, so that what it has said before is no news.
		Rejected: old.Rejected, Warnings: old.Warnings,
		Refused: old.Refused, RefusedAt: old.RefusedAt,
	}
	if at.refused == peer.Instance {
		// It was this agent's own, for example before the control plane was ready.
		at.status.Refused, at.status.RefusedAt = "", time.Time{}
	}
	at.owner = &Connection{registry: r, record: at, started: old.Instance != peer.Instance || old.ConnectedAt.IsZero()}
	return at.owner
}

// Refused records that a stream that named a node was not served. If the node has
// another one, that goes on.
func (r *Registry) Refused(peer Peer, reason string) {
	peer.AgentVersion, peer.Instance = bounded(peer.AgentVersion), bounded(peer.Instance)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.byName[peer.Node]
	if at == nil {
		at = &record{status: Status{Peer: peer}}
		r.byName[peer.Node] = at
	}
	at.refused = peer.Instance
	at.status.Refused, at.status.RefusedAt = bounded(reason), r.cfg.Now()
	if at.status.Connected {
		return
	}
	at.status.LastError = at.status.Refused
	at.status.DisconnectedAt = at.status.RefusedAt
	if at.element != nil {
		r.gone.Remove(at.element)
	}
	r.disconnect(at)
}

// Get returns the status of a node.
func (r *Registry) Get(node string) (Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.byName[node]
	if at == nil {
		return Status{}, false
	}
	return at.status, true
}

// List returns the status of all nodes, ordered by name.
func (r *Registry) List() []Status {
	r.mu.Lock()
	r.sweep()
	all := make([]Status, 0, len(r.byName))
	for _, at := range r.byName {
		all = append(all, at.status)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// Count returns how many nodes are in each state, given the current revision.
func (r *Registry) Count(current uint64) map[introspectionv1.SyncState]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	counts := map[introspectionv1.SyncState]int{}
	for _, at := range r.byName {
		counts[at.status.State(current)]++
	}
	return counts
}

// Behind is a connected node that has not applied something.
type Behind struct {
	Node, Reason string
}

// Progress returns which nodes are connected, and those of them that have not applied a
// revision, in no order. What a node rejected of it counts if it has one of the names, or any
// if none is given.
func (r *Registry) Progress(revision uint64, names map[string]bool) (connected []string, behind []Behind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, at := range r.byName {
		if !at.status.Connected {
			continue
		}
		connected = append(connected, name)
		if reason := at.status.lacks(revision, names); reason != "" {
			behind = append(behind, Behind{name, reason})
		}
	}
	return connected, behind
}

// lacks says why a node has not applied a revision; it is empty if it has.
func (s *Status) lacks(revision uint64, names map[string]bool) string {
	if s.Failed {
		return s.LastError
	}
	for _, rejected := range s.Rejected {
		if name := rejected.GetName().GetName(); len(names) == 0 || names[name] {
			return "rejected " + name + ": " + rejected.GetReason()
		}
	}
	if s.AckedRevision < revision {
		return fmt.Sprintf("has applied revision %d of %d", s.AckedRevision, revision)
	}
	return ""
}

// Oldest returns the smallest revision that a connected node has acknowledged, and
// false if there is no connected node.
func (r *Registry) Oldest() (revision uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.byName {
		if at.status.Connected && (!ok || at.status.AckedRevision < revision) {
			revision, ok = at.status.AckedRevision, true
		}
	}
	return revision, ok
}

// disconnect keeps the record of a node without a connection.
func (r *Registry) disconnect(at *record) {
	at.owner = nil
	at.element = r.gone.PushBack(at)
	for r.gone.Len() > r.cfg.Max {
		r.forget(r.gone.Front())
	}
	r.sweep()
}

// sweep forgets nodes that are gone for long and that the cluster does not have.
func (r *Registry) sweep() {
	now := r.cfg.Now()
	if now.Sub(r.swept) < sweepInterval {
		return
	}
	r.swept = now
	for element := r.gone.Front(); element != nil; {
		next := element.Next()
		status := &element.Value.(*record).status
		if now.Sub(status.DisconnectedAt) < r.cfg.Keep {
			return
		}
		if r.cfg.Known == nil || !r.cfg.Known(status.Node) {
			r.forget(element)
		}
		element = next
	}
}

func (r *Registry) forget(element *list.Element) {
	r.gone.Remove(element)
	delete(r.byName, element.Value.(*record).status.Node)
}
