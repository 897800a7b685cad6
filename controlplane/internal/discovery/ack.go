package discovery

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
)

// ack takes the subscriber's word on the latest transaction.
func (s *session) ack(ack *discoveryv1.Ack) error {
	counters := &s.server.counters
	nonce := ack.GetResponseNonce()
	if nonce == 0 || nonce > s.committed {
		return status.Errorf(codes.InvalidArgument, "ack.response_nonce %d was never sent: the last is %d", nonce, s.committed)
	}
	if nonce < s.committed {
		counters.staleAcks.Add(1)
		return nil
	}
	counters.acks.Add(1)
	if !s.acked {
		s.acked = true
		s.takeOver()
	}
	if ack.GetDigest() != s.digest {
		return s.diverged(ack.GetDigest())
	}
	s.note(ack)
	if s.awaiting {
		s.awaiting, s.bundle = false, nil
		s.observe(ack)
	}
	return nil
}

// diverged has the subscriber resume, because only it knows its buckets.
func (s *session) diverged(theirs uint64) error {
	s.server.counters.digestMismatches.Add(1)
	s.record.Diverged()
	s.server.cfg.Logger.Warn("a node's resources are not what it was sent; repairing", "node", s.node.GetId(), "peer", s.peer,
		"revision", s.held.Snapshot().Revision, "digest", fmt.Sprintf("%016x", theirs), "expected", fmt.Sprintf("%016x", s.digest))
	return status.Error(codes.Aborted, "digest mismatch: resume")
}

// note records the Ack.
func (s *session) note(ack *discoveryv1.Ack) {
	var failure string
	if detail := ack.GetErrorDetail(); detail != nil {
		failure = codes.Code(detail.GetCode()).String() + ": " + detail.GetMessage()
		s.server.counters.nacks.Add(1)
	}
	s.report(s.record.Acked(nodes.Ack{
		Revision: s.held.Snapshot().Revision, ApplyDuration: ack.GetApplyDuration().AsDuration(),
		Rejected: ack.GetRejected(), Warnings: ack.GetWarnings(), Error: failure,
	}))
	trouble := describe(failure, ack.GetRejected())
	if trouble != s.trouble && trouble != "" {
		s.server.cfg.Logger.Warn("a node could not apply what it was sent; its last good state stays in force",
			"node", s.node.GetId(), "revision", s.held.Snapshot().Revision, "reason", trouble)
	} else if trouble != s.trouble {
		s.server.cfg.Logger.Info("a node applies again", "node", s.node.GetId(), "revision", s.held.Snapshot().Revision)
	}
	s.trouble = trouble
}

// report passes on what a node has not said before.
func (s *session) report(news nodes.News) {
	for _, w := range news.Warnings {
		s.server.cfg.Logger.Warn("a node warns", "node", s.node.GetId(), "of", resource.NameOf(w.GetName()).String(),
			"reason", w.GetReason(), "message", w.GetMessage())
	}
	events := s.server.cfg.Events
	if events == nil {
		return
	}
	for _, w := range news.Warnings {
		events.NodeWarned(s.node.GetId(), w)
	}
	for _, r := range news.Rejected {
		events.NodeRejected(s.node.GetId(), r)
	}
}

// describe says in one line what an Ack complains about.
func describe(failure string, rejected []*discoveryv1.RejectedResource) string {
	if failure != "" || len(rejected) == 0 {
		return failure
	}
	first := fmt.Sprintf("%s: %s", resource.NameOf(rejected[0].GetName()), rejected[0].GetReason())
	if len(rejected) == 1 {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, len(rejected)-1)
}

// pushed describes the latest transaction.
func (s *session) pushed() Pushed {
	return Pushed{Node: s.node.GetId(), From: s.from, To: s.held.Snapshot().Revision, At: s.began}
}

func (s *session) observe(ack *discoveryv1.Ack) {
	observe := s.server.cfg.Observe
	if observe == nil {
		return
	}
	done := Acknowledged{
		Pushed: s.pushed(), Received: s.server.cfg.Now(), FullSync: s.heavy, Reason: s.trouble,
		Apply: ack.GetApplyDuration().AsDuration(), Resources: s.out.resources, Bytes: s.out.sent,
		Kernel: ack.GetErrorDetail() != nil, Rejected: len(ack.GetRejected()) > 0,
	}
	if s.byChange {
		done.SinceCommit = done.Received.Sub(s.held.Snapshot().Time)
	}
	observe(done)
}

// takeOver makes the stream its node's and ends the one that was.
func (s *session) takeOver() {
	old := s.server.streams.claim(s)
	s.list(true)
	if old == nil {
		return
	}
	s.server.counters.takeovers.Add(1)
	old.kick(status.Errorf(codes.Aborted, "stream of node %q taken over by agent instance %q at %s",
		s.node.GetId(), s.node.GetInstance(), s.peer))
	log := s.server.cfg.Logger.Debug
	if old.node.GetInstance() != s.node.GetInstance() {
		log = s.server.cfg.Logger.Info
		if s.server.door.contested(s.node.GetId()) {
			s.server.cfg.Nodes.Refused(nodes.Peer{Node: s.node.GetId()}, fmt.Sprintf("agents of this name take the node from each other: %s at %s, and %s at %s",
				old.node.GetInstance(), old.peer, s.node.GetInstance(), s.peer))
		}
	}
	log("a newer stream of the node took over", "node", s.node.GetId(), "peer", s.peer, "instance", s.node.GetInstance(),
		"older_peer", old.peer, "older_instance", old.node.GetInstance())
}

// list shows the stream as its node's, unless it is an observer's. Without force
// it leaves the node to a stream that has acknowledged something.
func (s *session) list(force bool) {
	if s.observer || s.record != nil || !force && s.server.streams.claimed(s.node.GetId()) {
		return
	}
	s.record = s.server.cfg.Nodes.Connect(nodes.Peer{
		Node: s.node.GetId(), Zone: s.held.Zone(), Address: s.peer,
		AgentVersion: s.node.GetAgentVersion(), Instance: s.node.GetInstance(),
	})
	if events := s.server.cfg.Events; events != nil && s.record.Started() {
		events.AgentStarted(nodes.Peer{Node: s.node.GetId(), Address: s.peer, AgentVersion: s.node.GetAgentVersion(), Instance: s.node.GetInstance()})
	}
	if s.committed > 0 {
		s.record.Sent(s.held.Snapshot().Revision, s.out.resources, s.out.sent, s.heavy)
	}
}
