// Package discovery serves the DiscoveryService: each stream follows its node's
// view of the snapshots, one transaction at a time.
//
//	snapshot.Store ──Changed──▶ session ──pieces──▶ subscriber
//	                              ▲                     │
//	                              └──── Ack (digest) ◀──┘
//
// A session holds no queue. It remembers the view that the subscriber has once it
// has applied what was sent, and while a transaction is unacknowledged it does not
// look at newer snapshots at all; what changes meanwhile gathers there. When the
// Ack comes, the next transaction is the difference between the two views.
//
// Frames are encoded once, at commit. A piece is a small header, encoded for the
// stream, followed by the shared frames of its resources: protobuf messages may
// be concatenated, so the two together are one StreamDeltasResponse. The codec in
// ServerOptions passes such pieces through without copying them.
//
// # How a stream begins
//
// A subscriber that resumes is sent the buckets that differ. One that holds
// nothing is sent everything, with a reset of every kind. Either way there is a
// first transaction, if need be an empty one, so that the subscriber knows that it
// is current. Full syncs are admitted a few at a time.
//
// A replica that has not come as far as the subscriber's source version waits a
// little and then refuses: a node must not go back in time. So does one that has just
// started with far fewer Services than the subscriber holds: its source may be blind.
//
// # Storms and bad peers
//
// A door lets streams in at a rate, for each address and each node, and so many at all;
// it refuses the others before anything is done for them, and tells them when to come
// again such that they do not come together. Who does not read gives its slot for a
// full sync to another. Streams end by themselves at an age that varies, when nothing
// is on its way, so that nodes spread over the replicas.
//
// # How a stream ends
//
//	OK                  it has reached its age, and nothing is on its way
//	ABORTED             resume: the digest is wrong, the change log was left
//	                    behind, or a newer stream of the node took over
//	DEADLINE_EXCEEDED   a transaction was not acknowledged in time
//	INVALID_ARGUMENT    a request that makes no sense
//	RESOURCE_EXHAUSTED  too many full syncs at once or streams, or streams that are
//	                    opened too fast, with RetryInfo
//	UNAVAILABLE         not synced yet, behind the subscriber, far
//	                    fewer Services than it holds, or shutting down
//
// # Observers
//
// A client that half-closes sends no Acks and is not waited for. It is sent what
// changes at a bounded rate and is not listed as a node. Because one cannot know
// at the time of the Subscribe, a stream takes its node over from an older one
// only with its first Ack.
package discovery
