package discovery

import (
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// tampered is a stream of a buggy pair: between the real subscriber and what watches
// the wire it changes messages to what the bug would have made of them.
type tampered struct {
	grpc.ClientStream
	received func(*discoveryv1.StreamDeltasResponse)
	// sends returns whether the request is sent at all.
	sends func(*discoveryv1.StreamDeltasRequest) bool
}

// RecvMsg implements grpc.ClientStream.
func (t *tampered) RecvMsg(m any) error {
	err := t.ClientStream.RecvMsg(m)
	if err == nil && t.received != nil {
		t.received(m.(*discoveryv1.StreamDeltasResponse))
	}
	return err
}

// SendMsg implements grpc.ClientStream.
func (t *tampered) SendMsg(m any) error {
	if t.sends != nil && !t.sends(m.(*discoveryv1.StreamDeltasRequest)) {
		return nil
	}
	return t.ClientStream.SendMsg(m)
}

// receiving is a mutant that changes each response by itself.
func receiving(change func(*discoveryv1.StreamDeltasResponse)) func(*link) grpc.ClientStream {
	return func(l *link) grpc.ClientStream { return &tampered{ClientStream: l, received: change} }
}

// sending is a mutant that changes each request by itself.
func sending(change func(*discoveryv1.StreamDeltasRequest)) func(*link) grpc.ClientStream {
	return func(l *link) grpc.ClientStream {
		return &tampered{ClientStream: l, sends: func(r *discoveryv1.StreamDeltasRequest) bool { change(r); return true }}
	}
}

// staleDigest has the server say of each transaction the digest of the one before.
func staleDigest(l *link) grpc.ClientStream {
	var before uint64
	return &tampered{ClientStream: l, received: func(r *discoveryv1.StreamDeltasResponse) {
		now := r.GetDigest()
		if r.GetCommit() && before != 0 {
			r.Digest = before
		}
		before = now
	}}
}

// staleAck has the subscriber acknowledge the digest of the transaction before.
func staleAck(l *link) grpc.ClientStream {
	var before uint64
	return &tampered{ClientStream: l, sends: func(r *discoveryv1.StreamDeltasRequest) bool {
		if ack := r.GetAck(); ack != nil {
			now := ack.GetDigest()
			if before != 0 {
				ack.Digest = before
			}
			before = now
		}
		return true
	}}
}

// ackAtOnce acknowledges what is received before it is applied.
func ackAtOnce(l *link) grpc.ClientStream {
	t := &tampered{ClientStream: l, sends: func(r *discoveryv1.StreamDeltasRequest) bool { return r.GetAck() == nil }}
	t.received = func(r *discoveryv1.StreamDeltasResponse) {
		if r.GetCommit() {
			_ = l.SendMsg(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Ack{
				Ack: &discoveryv1.Ack{ResponseNonce: r.GetNonce(), Digest: r.GetDigest()}}})
		}
	}
	return t
}

// rememberedResume has an agent that has lost its state subscribe as if it had not.
func rememberedResume() func(*link) grpc.ClientStream {
	var mu sync.Mutex
	last := map[*follower]*discoveryv1.Resume{}
	return func(l *link) grpc.ClientStream {
		return &tampered{ClientStream: l, sends: func(r *discoveryv1.StreamDeltasRequest) bool {
			mu.Lock()
			defer mu.Unlock()
			if s := r.GetSubscribe(); s != nil {
				if s.Resume == nil {
					s.Resume = last[l.f]
				}
				last[l.f] = s.Resume
			}
			return true
		}}
	}
}

// logOffByOne is a server that reads its change log from one commit too late if it
// has missed several: what only the first of them changed is not sent, and counts as
// sent, in its digest too. So nothing is there that could repair it.
type logOffByOne struct {
	l *link
	// revision is the last committed, sum the digests' difference, changed per name.
	revision uint64
	skipped  map[resource.Name]skip
	resets   bool
}

// skip is what a node has, and what the server believes that it has.
type skip struct{ has, believed uint64 }

func offByOne(l *link) grpc.ClientStream {
	m := &logOffByOne{l: l, skipped: map[resource.Name]skip{}}
	return &tampered{ClientStream: l, received: m.receive, sends: func(r *discoveryv1.StreamDeltasRequest) bool {
		if ack := r.GetAck(); ack != nil {
			ack.Digest ^= m.skew()
		}
		return true
	}}
}

func (m *logOffByOne) receive(r *discoveryv1.StreamDeltasResponse) {
	m.resets = m.resets || len(r.GetResets()) > 0
	lost := m.lost(r.GetRevision())
	r.Removed = slices.DeleteFunc(r.Removed, func(n *discoveryv1.ResourceName) bool { return m.skips(lost, resource.NameOf(n), 0) })
	r.Resources = slices.DeleteFunc(r.Resources, func(n *discoveryv1.Resource) bool {
		return m.skips(lost, resource.Name{Kind: resource.KindOf(n), Name: n.GetName()}, n.GetVersion())
	})
	if r.GetCommit() {
		m.revision, m.resets = r.GetRevision(), false
		r.Digest ^= m.skew()
	}
}

// lost returns the names that only the first missed commit changed, with the version
// that the node has.
func (m *logOffByOne) lost(revision uint64) map[resource.Name]uint64 {
	if m.revision == 0 || m.resets {
		return nil
	}
	view := func(revision uint64) snapshot.View { return m.l.process.at(revision).View(m.l.f.name) }
	for from := m.revision; from+1 < revision; from++ {
		old, next := view(from), view(from+1)
		_, way, _ := old.To(next.Snapshot())
		steps := way.Steps()
		if len(steps) == 0 {
			continue // The server has moved on without a word.
		}
		lost, now := map[resource.Name]uint64{}, view(revision)
		for _, step := range steps {
			name := step.Name()
			if contribution(next.Get(name)) == contribution(now.Get(name)) {
				lost[name] = 0
				if step.From != nil {
					lost[name] = step.From.Version
				}
			}
		}
		return lost
	}
	return nil
}

func (m *logOffByOne) skips(lost map[resource.Name]uint64, name resource.Name, version uint64) bool {
	has, is := lost[name]
	if before, twice := m.skipped[name]; twice {
		has = before.has
	}
	delete(m.skipped, name)
	if is {
		m.skipped[name] = skip{has, version}
	}
	return is
}

// skew is the difference between the server's digest and the node's.
func (m *logOffByOne) skew() uint64 {
	var sum uint64
	for name, s := range m.skipped {
		for _, version := range []uint64{s.has, s.believed} {
			if version != 0 {
				sum ^= resource.Mix(resource.NameHash(name.Name), version)
			}
		}
	}
	return sum
}

// TestTheSimulationCatchesBugsOfTheProtocol: each of these is seen within a few
// histories, as what it breaks. Where the digests repair the damage nothing stays
// wrong, and they have counted it.
func TestTheSimulationCatchesBugsOfTheProtocol(t *testing.T) {
	const histories = 40 // For each.
	for name, m := range map[string]struct {
		mutant func(*link) grpc.ClientStream
		// caught are the promises that are seen broken, kept those that hold all the same.
		caught, kept []violation
	}{
		"removals are dropped": {receiving(func(r *discoveryv1.StreamDeltasResponse) { r.Removed = nil }),
			[]violation{torn, mismatch}, []violation{unsettled}},
		"the change log is read from one commit too late": {offByOne,
			[]violation{torn, unsettled}, []violation{mismatch}},
		"buckets are not reset": {receiving(func(r *discoveryv1.StreamDeltasResponse) { r.Resets = nil }),
			[]violation{torn, mismatch, unsettled}, nil},
		"the server's digest is not updated": {staleDigest,
			[]violation{mismatch}, []violation{torn, unsettled}},
		"the subscriber's digest is not updated": {staleAck,
			[]violation{mismatch}, []violation{torn}},
		"the ACK comes before the commit": {ackAtOnce,
			[]violation{early}, []violation{torn, mismatch}},
		"a piece is applied before its transaction is whole": {receiving(func(r *discoveryv1.StreamDeltasResponse) { r.Commit = true }),
			[]violation{torn, mismatch}, nil},
		"a subscriber does not say how far it has come": {sending(func(r *discoveryv1.StreamDeltasRequest) {
			if s := r.GetSubscribe(); s.GetResume() != nil {
				s.Resume.Source = nil
			}
		}), []violation{back}, []violation{torn, mismatch, unsettled}},
		"a NACK does not name what is rejected": {sending(func(r *discoveryv1.StreamDeltasRequest) {
			if ack := r.GetAck(); ack != nil {
				ack.Rejected = nil
			}
		}), []violation{unsettled}, []violation{torn, mismatch}},
		"an agent that has lost its state says that it has not": {rememberedResume(),
			[]violation{torn, mismatch}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := map[violation]int{}
			first := map[violation]int{}
			for i := range histories {
				s := ordinary(uint64(i + 1))
				s.mutant, s.observers = m.mutant, 0
				for v := range simulate(t, s).violations {
					if seen[v]++; seen[v] == 1 {
						first[v] = i + 1
					}
				}
				// What never settles takes long; the others are to show what they do not break.
				if len(m.kept) == 0 && !slices.ContainsFunc(m.caught, func(v violation) bool { return seen[v] == 0 }) {
					break
				}
			}
			t.Logf("seen in so many histories: %v; first in history %v", seen, first)
			for _, v := range m.caught {
				if seen[v] == 0 {
					t.Errorf("%q was not seen in %d histories", v, histories)
				}
			}
			for _, v := range m.kept {
				if seen[v] > 0 {
					t.Errorf("%q was seen in %d of %d histories", v, seen[v], histories)
				}
			}
		})
	}
}
