// Package resource holds what the control plane and its subscribers must agree
// on bit for bit: resource names, content-hash versions, bucket digests, and
// which of two Services owns a frontend that both claim.
//
// # Versions
//
// A version is the 64-bit xxHash of the resource's body in deterministic
// protobuf encoding, as the control plane encoded it. Equal content has an equal
// version on every replica. Subscribers never recompute versions; they only
// store and compare them.
//
// # Digests
//
// Held resources are summarized per kind in Buckets(kind) buckets. A resource
// falls into bucket NameHash % buckets; a bucket is the XOR of Mix(name hash,
// version) of what it holds, so it can be maintained by XOR as resources come
// and go, and zero means (to one in 2⁶⁴) empty. Bucket counts are powers of two,
// so that a digest with fewer buckets is the fold of one with more.
package resource
