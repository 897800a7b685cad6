package introspection

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
)

// refusedFor is how long it is said of a connected node that another stream that named
// it was refused.
const refusedFor = 5 * time.Minute

// lastError returns what is wrong with a node's streams.
func lastError(s *nodes.Status, now time.Time) string {
	if s.LastError == "" && s.Refused != "" && now.Sub(s.RefusedAt) < refusedFor {
		return "another stream was refused: " + s.Refused
	}
	return s.LastError
}

func nodeStatus(s *nodes.Status, current uint64, now time.Time) *introspectionv1.NodeStatus {
	return &introspectionv1.NodeStatus{
		Node: s.Node, Peer: s.Address, AgentVersion: s.AgentVersion, Zone: s.Zone,
		State:        s.State(current),
		SentRevision: s.SentRevision, AckedRevision: s.AckedRevision,
		ConnectedAt: timestamp(s.ConnectedAt), AckedAt: timestamp(s.AckedAt),
		ApplyDuration: durationpb.New(s.ApplyDuration),
		LastError:     lastError(s, now), Rejected: s.Rejected, Warnings: s.Warnings,
		FullSyncs: s.FullSyncs, DigestMismatches: s.DigestMismatches,
		SentResources: s.SentResources, SentBytes: s.SentBytes,
	}
}

// brakeOf returns nil for a brake that is off.
func brakeOf(s brake.State) *introspectionv1.Brake {
	if !s.On() {
		return nil
	}
	b := &introspectionv1.Brake{Served: uint32(s.Of), Since: timestamp(s.Since), HeldByNodes: uint32(s.Doubted)}
	for _, key := range s.Held {
		b.Services = append(b.Services, key.String())
	}
	return b
}

// timestamp returns nil for what has not happened.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
