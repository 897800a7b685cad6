package snapshot

import (
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Snapshot is everything the control plane serves at one revision. It is
// immutable.
type Snapshot struct {
	// Revision counts the snapshots of this replica, from 1.
	Revision uint64
	Source   model.SourceVersion
	// Time is when the snapshot was committed.
	Time time.Time

	tree *iradix.Tree[*Entry]
	// shared digests the shared resources; overlay, for each zone, is what XOR
	// turns that into the digest of shared resources overridden by the zone's.
	shared  digests
	overlay map[string]digests
	log     []delta
	changed chan struct{}
}

type digests map[discoveryv1.Kind]resource.Digest

// delta names what one commit changed, by scope.
type delta struct {
	shared []resource.Name
	zones  map[string][]resource.Name
	nodes  map[string][]resource.Name
}

// Changed returns a channel that is closed when a newer snapshot is current.
func (s *Snapshot) Changed() <-chan struct{} { return s.changed }

// Len returns how many resources of all scopes the snapshot has.
func (s *Snapshot) Len() int { return s.tree.Len() }

// View returns what the node should hold. A node that the cluster does not know
// holds the shared resources.
func (s *Snapshot) View(node string) View {
	view := View{snapshot: s, node: node}
	name := resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: node}
	entry, ok := s.tree.Get(key(Scope{Node: node}, name))
	if !ok {
		return view
	}
	if config, err := entry.Decode(); err == nil {
		view.zone = config.GetNodeConfig().GetZone()
	}
	return view
}

// inZone returns what nodes of a zone see of a name that is no node's own, or nil.
func (s *Snapshot) inZone(zone string, name resource.Name) *Entry {
	if zone != "" {
		if entry := s.lookup(Scope{Zone: zone}, name); entry != nil {
			return entry
		}
	}
	return s.lookup(Scope{}, name)
}

// since returns what each commit after an older snapshot changed. ok is false if the log
// no longer reaches back that far.
func (s *Snapshot) since(older *Snapshot) (changes []delta, ok bool) {
	missed := s.Revision - older.Revision
	if older.Revision > s.Revision || missed > uint64(len(s.log)) {
		return nil, false
	}
	return s.log[uint64(len(s.log))-missed:], true
}

// variants returns the names of which a zone has its own variant.
func (s *Snapshot) variants(zone string) []resource.Name {
	if zone == "" {
		return nil
	}
	var names []resource.Name
	iterator := s.tree.Root().Iterator()
	iterator.SeekPrefix(scopePrefix(Scope{Zone: zone}))
	for _, entry, ok := iterator.Next(); ok; _, entry, ok = iterator.Next() {
		names = append(names, entry.Name)
	}
	return names
}

// lookup returns the entry of exactly this scope, or nil.
func (s *Snapshot) lookup(scope Scope, name resource.Name) *Entry {
	entry, _ := s.tree.Get(key(scope, name))
	return entry
}
