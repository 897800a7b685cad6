// Package subscribe is the subscriber's half of the discovery protocol: it keeps
// a stream to one of several control-plane replicas, gathers the pieces of each
// transaction, hands over whole transactions only, and acknowledges them once
// they are applied.
//
//	control plane ──pieces──▶ assembler ──commit──▶ held ──Transaction──▶ Handler
//	      ▲                  (held back)         name → version             │
//	      └───── Ack (nonce, digest, rejected, error, duration) ◀── Result ─┘
//
// # Invariants
//
//   - A Handler sees committed transactions only, one at a time, in order. An
//     interrupted one leaves no trace.
//   - What is held moves on with every committed transaction, whatever the
//     Handler's Result: rejected resources are held too, so that the server does
//     not send the same version again. Retrying is the Handler's owner's work;
//     Subscriber.Acknowledge then reports how it went.
//   - A new stream always resumes: it sends digests of what is held, in constant
//     space, and is sent what differs. Losing the stream therefore costs nothing,
//     and nothing is ever removed because a stream was lost.
//   - After each transaction the digest of what is held is compared with what the
//     server says it must be. A difference ends the stream; the next one repairs
//     the buckets that differ.
//   - Memory is bounded by what is held (a name and a version each) and by
//     MaxTransactionBytes: until a Handler asks for them, a transaction's resources
//     stay encoded.
//
// # Connecting
//
// Replicas are tried in random order, with full jitter between attempts. Only a
// transaction that was committed and found correct resets the delay, so that a
// replica that accepts streams and then fails them is not hammered. A server that
// is busy can ask for a longer pause with google.rpc.RetryInfo, of at most half a minute;
// it is followed, and the jitter added. A server that ends a stream in good order, without
// an error or by an HTTP/2 GOAWAY, wants the subscriber to choose a replica anew: that is
// no failure, and it is not logged as one.
package subscribe
