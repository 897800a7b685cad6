package nodes

import (
	"slices"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Connection is how one stream reports on its node. A nil Connection reports
// nothing: that of an observer.
type Connection struct {
	registry *Registry
	record   *record
	started  bool
}

// Started tells whether this is the first connection that was seen of the agent's
// process.
func (c *Connection) Started() bool { return c != nil && c.started }

// update changes the node's status unless a newer connection has taken it over.
func (c *Connection) update(change func(*Status)) {
	if c == nil {
		return
	}
	c.registry.mu.Lock()
	defer c.registry.mu.Unlock()
	if c.record.owner == c {
		change(&c.record.status)
	}
}

// Sent records that a transaction to the revision was written.
func (c *Connection) Sent(revision uint64, resources, bytes int, full bool) {
	c.update(func(s *Status) {
		s.SentRevision, s.SentAt = revision, c.registry.cfg.Now()
		s.SentResources += uint64(resources)
		s.SentBytes += uint64(bytes)
		if full {
			s.FullSyncs++
		}
	})
}

// Unchanged records that the revision has nothing new for the node.
func (c *Connection) Unchanged(revision uint64) {
	c.update(func(s *Status) {
		if s.AckedRevision == s.SentRevision && s.AckedRevision != 0 {
			s.AckedRevision = revision
		}
		s.SentRevision = revision
	})
}

// News is what a node complains of that it did not complain of before.
type News struct {
	Rejected []*discoveryv1.RejectedResource
	Warnings []*discoveryv1.Warning
}

// Acked records what the node says; the last word counts. It returns what is new.
func (c *Connection) Acked(ack Ack) (news News) {
	c.update(func(s *Status) {
		ack.Rejected, ack.Warnings = boundedRejected(ack.Rejected), boundedWarnings(ack.Warnings)
		news = News{fresh(s.Rejected, ack.Rejected), fresh(s.Warnings, ack.Warnings)}
		s.AckedRevision, s.AckedAt = ack.Revision, c.registry.cfg.Now()
		s.ApplyDuration = ack.ApplyDuration
		s.Rejected, s.Warnings = ack.Rejected, ack.Warnings
		s.Failed, s.LastError = ack.Error != "", bounded(ack.Error)
		s.Diverged = false
	})
	return news
}

// fresh returns what is in a list and was not in the one before.
func fresh[M proto.Message](before, now []M) []M {
	var list []M
	for _, m := range now {
		if !slices.ContainsFunc(before, func(o M) bool { return proto.Equal(o, m) }) {
			list = append(list, m)
		}
	}
	return list
}

// Diverged records that the node's digest is not what it must be.
func (c *Connection) Diverged() {
	c.update(func(s *Status) {
		s.Diverged = true
		s.DigestMismatches++
	})
}

// Moved records the zone that the cluster says the node is in.
func (c *Connection) Moved(zone string) {
	c.update(func(s *Status) { s.Zone = zone })
}

// Close records the end of the stream and why it ended.
func (c *Connection) Close(reason string) {
	c.update(func(s *Status) {
		s.Connected, s.DisconnectedAt = false, c.registry.cfg.Now()
		s.LastError = bounded(reason)
		c.registry.disconnect(c.record)
	})
}
