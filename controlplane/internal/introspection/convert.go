package introspection

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
)

func nodeStatus(s *nodes.Status, current uint64) *introspectionv1.NodeStatus {
	return &introspectionv1.NodeStatus{
		Node: s.Node, Peer: s.Address, AgentVersion: s.AgentVersion, Zone: s.Zone,
		State:        s.State(current),
		SentRevision: s.SentRevision, AckedRevision: s.AckedRevision,
		ConnectedAt: timestamp(s.ConnectedAt), AckedAt: timestamp(s.AckedAt),
		ApplyDuration: durationpb.New(s.ApplyDuration),
		LastError:     s.LastError, Rejected: s.Rejected, Warnings: s.Warnings,
		FullSyncs: s.FullSyncs, DigestMismatches: s.DigestMismatches,
		SentResources: s.SentResources, SentBytes: s.SentBytes,
	}
}

// timestamp returns nil for what has not happened.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
