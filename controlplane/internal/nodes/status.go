package nodes

import (
	"strings"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// Peer is who is at the other end of a stream.
type Peer struct {
	Node string
	// Zone is what the cluster says, not the peer.
	Zone         string
	Address      string
	AgentVersion string
	Instance     string
}

// Status is what is known of one node.
type Status struct {
	Peer
	// Connected is set while a stream is open.
	Connected                                    bool
	ConnectedAt, SentAt, AckedAt, DisconnectedAt time.Time
	// SentRevision is the newest revision that the node was sent or, nothing having
	// changed for it, did not have to be. AckedRevision is the newest it holds.
	SentRevision, AckedRevision uint64
	ApplyDuration               time.Duration
	// LastError is why the last transaction was not applied or, of a node that is
	// not connected, why its stream ended.
	LastError string
	// Refused is why a stream that named the node was not served, and RefusedAt when
	// that was last.
	Refused   string
	RefusedAt time.Time
	// Failed is set if the last transaction was not applied as a whole.
	Failed bool
	// Diverged is set from a digest mismatch to the next matching digest.
	Diverged bool
	// Rejected names what the node could not use; at most maxRejected of it.
	Rejected []*discoveryv1.RejectedResource
	// Warnings are what the node could not do beside applying; at most maxRejected.
	Warnings []*discoveryv1.Warning
	// FullSyncs and DigestMismatches count over all streams of the node.
	FullSyncs, DigestMismatches uint64
	// SentResources and SentBytes count since the stream was opened.
	SentResources, SentBytes uint64
}

// State sums the status up, given the control plane's current revision.
func (s *Status) State(current uint64) introspectionv1.SyncState {
	switch {
	case !s.Connected:
		return introspectionv1.SyncState_SYNC_STATE_DISCONNECTED
	case s.Diverged:
		return introspectionv1.SyncState_SYNC_STATE_DIVERGED
	case s.AckedRevision == 0:
		return introspectionv1.SyncState_SYNC_STATE_CONNECTING
	case s.Failed || len(s.Rejected) > 0:
		return introspectionv1.SyncState_SYNC_STATE_REJECTED
	case s.AckedRevision < current:
		return introspectionv1.SyncState_SYNC_STATE_PENDING
	default:
		return introspectionv1.SyncState_SYNC_STATE_SYNCED
	}
}

// Ack is what a node says of a transaction.
type Ack struct {
	Revision      uint64
	ApplyDuration time.Duration
	Rejected      []*discoveryv1.RejectedResource
	Warnings      []*discoveryv1.Warning
	// Error is empty if the transaction was applied.
	Error string
}

const (
	maxRejected = 100
	maxText     = 1024
)

// bounded limits what a peer can make us remember.
func bounded(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

func boundedRejected(rejected []*discoveryv1.RejectedResource) []*discoveryv1.RejectedResource {
	if len(rejected) > maxRejected {
		rejected = rejected[:maxRejected:maxRejected]
	}
	for _, r := range rejected {
		r.Reason = bounded(r.GetReason())
	}
	return rejected
}

func boundedWarnings(warnings []*discoveryv1.Warning) []*discoveryv1.Warning {
	if len(warnings) > maxRejected {
		warnings = warnings[:maxRejected:maxRejected]
	}
	for _, w := range warnings {
		w.Reason, w.Message = bounded(w.GetReason()), bounded(w.GetMessage())
		if w.GetName() != nil {
			w.Name.Name = bounded(w.GetName().GetName())
		}
	}
	return warnings
}
