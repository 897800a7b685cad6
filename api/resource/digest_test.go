package resource

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

func drawContent(t *rapid.T) map[string]uint64 {
	return rapid.MapOf(rapid.StringMatching(`[a-z]{1,4}/[a-z]{1,4}`), rapid.Uint64Min(1)).Draw(t, "content")
}

func digestOf(content map[string]uint64, buckets int) Digest {
	d := make(Digest, buckets)
	for name, version := range content {
		d.Toggle(name, version)
	}
	return d
}

func drawBuckets(t *rapid.T, limit int) int {
	buckets := 1 << rapid.IntRange(0, 10).Draw(t, "log2 of buckets")
	return min(buckets, limit)
}

func TestADigestDependsOnContentAloneNotOnItsHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		buckets := drawBuckets(t, MaxBuckets)
		content := map[string]uint64{}
		d := make(Digest, buckets)
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			name := rapid.StringMatching(`[a-c]/[a-c]`).Draw(t, "name")
			version := rapid.Uint64Range(0, 3).Draw(t, "version")
			d.Toggle(name, content[name])
			d.Toggle(name, version)
			content[name] = version
		}
		if want := digestOf(content, buckets); !slices.Equal(d, want) {
			t.Fatalf("got %x, want %x", d, want)
		}
	})
}

func TestAFoldIsTheDigestInFewerBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := drawContent(t)
		wide := drawBuckets(t, MaxBuckets)
		narrow := drawBuckets(t, wide)
		folded, err := digestOf(content, wide).Fold(narrow)
		if err != nil {
			t.Fatal(err)
		}
		if want := digestOf(content, narrow); !slices.Equal(folded, want) {
			t.Fatalf("got %x, want %x", folded, want)
		}
		if folded.Sum() != digestOf(content, wide).Sum() {
			t.Fatal("the sum depends on the number of buckets")
		}
	})
}

func TestOneChangedVersionAlwaysChangesTheBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := drawContent(t)
		name := rapid.StringMatching(`[a-z]{1,4}`).Draw(t, "name")
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		if a == b || a == 0 || b == 0 {
			t.Skip("equal or absent")
		}
		before, after := digestOf(content, 4), digestOf(content, 4)
		before.Toggle(name, a)
		after.Toggle(name, b)
		if slices.Equal(before, after) {
			t.Fatalf("versions %x and %x of %q look alike", a, b, name)
		}
	})
}

func TestBucketCountsAreChecked(t *testing.T) {
	for _, buckets := range []int{-1, 0, 3, 1000, 2048} {
		if CheckBuckets(buckets) == nil {
			t.Errorf("%d buckets accepted", buckets)
		}
		if _, err := make(Digest, 4).Fold(buckets); err == nil {
			t.Errorf("folded into %d buckets", buckets)
		}
	}
	if _, err := make(Digest, 4).Fold(8); err == nil {
		t.Error("folded 4 buckets into 8")
	}
	for _, kind := range append(slices.Clone(Kinds), discoveryv1.Kind(99)) {
		if err := CheckBuckets(len(NewDigest(kind))); err != nil {
			t.Errorf("%s: %v", KindName(kind), err)
		}
	}
}

// FuzzDigest checks that removing what was added leaves nothing, however names
// and versions are chosen.
func FuzzDigest(f *testing.F) {
	f.Add("demo/web", uint64(1), "demo/api", uint64(2), uint8(3))
	f.Add("", uint64(0), "", uint64(1), uint8(10))
	f.Fuzz(func(t *testing.T, name1 string, version1 uint64, name2 string, version2 uint64, shift uint8) {
		d := make(Digest, 1<<(shift%11))
		d.Toggle(name1, version1)
		d.Toggle(name2, version2)
		folded, err := d.Fold(1)
		if err != nil || folded[0] != d.Sum() {
			t.Fatalf("fold %x, sum %x: %v", folded, d.Sum(), err)
		}
		d.Toggle(name1, version1)
		d.Toggle(name2, version2)
		if slices.ContainsFunc(d, func(bucket uint64) bool { return bucket != 0 }) {
			t.Fatalf("left %x", d)
		}
	})
}
