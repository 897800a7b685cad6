package resource

import (
	"fmt"

	"github.com/cespare/xxhash/v2"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// MaxBuckets is the largest number of buckets that a digest of one kind may have.
const MaxBuckets = 1024

// Buckets returns into how many buckets a subscriber divides a kind: enough that
// one differing bucket is a small part of a large cluster, few enough that all
// digests together stay below 20 kB.
func Buckets(kind discoveryv1.Kind) int {
	switch kind {
	case discoveryv1.Kind_KIND_SERVICE, discoveryv1.Kind_KIND_ENDPOINT_SET:
		return MaxBuckets
	case discoveryv1.Kind_KIND_LOCAL_ENDPOINTS:
		return 64
	default:
		return 1
	}
}

// NameHash returns the hash of a name that decides its bucket.
func NameHash(name string) uint64 { return xxhash.Sum64String(name) }

// Mix returns what a resource contributes to its bucket. It is a bijection of
// version for a given name, so that a changed version always changes the bucket.
func Mix(nameHash, version uint64) uint64 {
	// The finalizer of splitmix64 over the sum, so that the XOR of several
	// resources does not cancel for related names or versions.
	x := nameHash + 0x9e3779b97f4a7c15*version
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Digest summarizes held resources of one kind.
type Digest []uint64

// NewDigest returns the digest of nothing, in Buckets(kind) buckets.
func NewDigest(kind discoveryv1.Kind) Digest { return make(Digest, Buckets(kind)) }

// Toggle adds a resource that is not in the digest, or removes one that is.
// Version zero stands for an absent resource and does nothing.
func (d Digest) Toggle(name string, version uint64) {
	if version == 0 {
		return
	}
	hash := NameHash(name)
	d[hash%uint64(len(d))] ^= Mix(hash, version)
}

// Sum returns the XOR of all buckets.
func (d Digest) Sum() uint64 {
	var sum uint64
	for _, bucket := range d {
		sum ^= bucket
	}
	return sum
}

// Fold returns the digest of the same resources in fewer buckets. The number must
// be a power of two that is not larger than the digest's.
func (d Digest) Fold(buckets int) (Digest, error) {
	if err := CheckBuckets(buckets); err != nil {
		return nil, err
	}
	if buckets > len(d) {
		return nil, fmt.Errorf("cannot fold %d buckets into %d", len(d), buckets)
	}
	folded := make(Digest, buckets)
	for i, bucket := range d {
		folded[i%buckets] ^= bucket
	}
	return folded, nil
}

// CheckBuckets tells what is wrong with a number of buckets.
func CheckBuckets(buckets int) error {
	if buckets < 1 || buckets > MaxBuckets || buckets&(buckets-1) != 0 {
		return fmt.Errorf("%d buckets: expected a power of two from 1 to %d", buckets, MaxBuckets)
	}
	return nil
}
