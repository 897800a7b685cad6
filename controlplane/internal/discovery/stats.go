package discovery

import "sync/atomic"

// Stats counts what the server does, for metrics.
type Stats struct {
	// Streams and Observers are open now; observers are among the streams.
	Streams, Observers int64
	// The others only grow.
	Transactions, FullSyncs, Pieces, Resources, Bytes uint64
	Acks, Nacks, StaleAcks, DigestMismatches          uint64
	// Refused counts streams that were sent away by admission.
	Refused, Takeovers, AckTimeouts uint64
	// Overfull, PeerLimited and NodeLimited count streams that were sent away because
	// there were too many, or too many from one address, or of one node.
	Overfull, PeerLimited, NodeLimited uint64
	// Invalid counts streams that ended by a request that makes no sense, Oversized
	// those by one that is too large, Unauthorized those of who may not have the view,
	// Revoked those of whom the right to it was taken back.
	Invalid, Oversized, Unauthorized, Revoked uint64
	// Aged counts streams that ended because of their age.
	Aged uint64
	// Overtaken counts streams that ended because they fell behind the change log.
	Overtaken uint64
	// Doubted counts streams that would have lost most of their Services.
	Doubted uint64
}

type counters struct {
	streams, observers                                atomic.Int64
	transactions, fullSyncs, pieces, resources, bytes atomic.Uint64
	acks, nacks, staleAcks, digestMismatches          atomic.Uint64
	refused, takeovers, ackTimeouts, doubted          atomic.Uint64
	overtaken                                         atomic.Uint64
	overfull, peerLimited, nodeLimited                atomic.Uint64
	invalid, oversized, unauthorized, revoked, aged   atomic.Uint64
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Streams: c.streams.Load(), Observers: c.observers.Load(),
		Transactions: c.transactions.Load(), FullSyncs: c.fullSyncs.Load(), Pieces: c.pieces.Load(),
		Resources: c.resources.Load(), Bytes: c.bytes.Load(),
		Acks: c.acks.Load(), Nacks: c.nacks.Load(), StaleAcks: c.staleAcks.Load(), DigestMismatches: c.digestMismatches.Load(),
		Refused: c.refused.Load(), Takeovers: c.takeovers.Load(), AckTimeouts: c.ackTimeouts.Load(),
		Overtaken: c.overtaken.Load(), Doubted: c.doubted.Load(), Overfull: c.overfull.Load(), PeerLimited: c.peerLimited.Load(), NodeLimited: c.nodeLimited.Load(),
		Invalid: c.invalid.Load(), Oversized: c.oversized.Load(), Unauthorized: c.unauthorized.Load(), Revoked: c.revoked.Load(), Aged: c.aged.Load(),
	}
}
