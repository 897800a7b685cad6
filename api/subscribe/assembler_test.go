package subscribe

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

type piece = discoveryv1.StreamDeltasResponse

func TestAPieceWithoutCommitYieldsNothing(t *testing.T) {
	a := newAssembler(resource.Kinds, 1<<20)
	one, two := service("d/one", 1), service("d/two", 2)
	if whole, err := a.add(&piece{Nonce: 1, Resources: []*discoveryv1.Resource{one}}); whole != nil || err != nil {
		t.Fatalf("got %v, %v", whole, err)
	}
	whole, err := a.add(&piece{Nonce: 2, Resources: []*discoveryv1.Resource{two}, Commit: true, Revision: 7})
	if err != nil {
		t.Fatal(err)
	}
	tx := newHeld(resource.Kinds, nil, nil).commit(whole)
	want := []*discoveryv1.Resource{service("d/one", 1), service("d/two", 2)}
	if diff := cmp.Diff(want, slices.Collect(tx.Resources.All()), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if tx.Revision != 7 || tx.Nonce != 2 || tx.Full || len(tx.Removed) > 0 {
		t.Errorf("got %+v", tx)
	}
}

func TestPiecesThatBreakTheProtocolAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		pieces []*piece
		want   string
	}{
		"nonce does not start at 1": {[]*piece{{Nonce: 2}}, "expected 1"},
		"nonce repeats":             {[]*piece{{Nonce: 1}, {Nonce: 1}}, "expected 2"},
		"nonce skips":               {[]*piece{{Nonce: 1, Commit: true}, {Nonce: 3}}, "expected 2"},
		"no name":                   {[]*piece{{Nonce: 1, Resources: []*discoveryv1.Resource{{Version: 1}}}}, "no name"},
		"no version": {[]*piece{{Nonce: 1, Resources: []*discoveryv1.Resource{{
			Name: "d/a", Body: &discoveryv1.Resource_Service{}}}}}, "Service d/a has no version"},
		"buckets not a power of two": {[]*piece{{Nonce: 1, Resets: []*discoveryv1.ResetBucket{{
			Kind: discoveryv1.Kind_KIND_SERVICE, Buckets: 3}}}}, "power of two"},
		"bucket beyond buckets": {[]*piece{{Nonce: 1, Resets: []*discoveryv1.ResetBucket{{
			Kind: discoveryv1.Kind_KIND_SERVICE, Bucket: 4, Buckets: 4}}}}, "bucket 4 of 4"},
		"too large": {[]*piece{{Nonce: 1, Resources: []*discoveryv1.Resource{service("d/"+strings.Repeat("x", 2000), 1)}}},
			"exceeds 1024 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAssembler(resource.Kinds, 1024)
			var err error
			for _, p := range test.pieces {
				_, err = a.add(p)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestTheLimitIsPerTransaction(t *testing.T) {
	a := newAssembler(resource.Kinds, 1024)
	for nonce := range uint64(10) {
		if _, err := a.add(&piece{Nonce: nonce + 1, Commit: true, Resources: []*discoveryv1.Resource{service("d/"+strings.Repeat("x", 900), 1)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResourcesOfOtherKindsAreNeitherHeldNorHandedOver(t *testing.T) {
	kinds := []discoveryv1.Kind{discoveryv1.Kind_KIND_SERVICE}
	a := newAssembler(kinds, 1<<20)
	newer := &discoveryv1.Resource{Name: "d/new", Version: 5}
	whole, err := a.add(&piece{Nonce: 1, Commit: true,
		Resources: []*discoveryv1.Resource{service("d/a", 1), endpoints("d/b", 1), newer},
		Removed:   []*discoveryv1.ResourceName{{Kind: 99, Name: "d/c"}},
		Resets:    []*discoveryv1.ResetBucket{{Kind: 99, Bucket: 0, Buckets: 77}}})
	if err != nil {
		t.Fatal(err)
	}
	h := newHeld(kinds, nil, nil)
	if tx := h.commit(whole); tx.Resources.Len() != 1 || len(tx.Removed) != 0 {
		t.Errorf("got %v", tx)
	}
	if h.sum() != digestOf(service("d/a", 1)) || a.takeSkipped() != 3 {
		t.Errorf("held %v", h.versions)
	}
}

func TestAResetRemovesWhatItDoesNotName(t *testing.T) {
	initial := map[resource.Name]uint64{}
	for _, name := range []string{"d/a", "d/b", "d/c", "d/d", "d/e", "d/f"} {
		initial[serviceName(name)] = service(name, 1).GetVersion()
	}
	other := resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "d/a"}
	initial[other] = 1
	for _, buckets := range []uint32{1, 2, 4, 1024} {
		h := newHeld(resource.Kinds, initial, nil)
		bucket := uint32(resource.NameHash("d/a") % uint64(buckets))
		whole := &assembled{commit: &piece{}, changes: []change{changeTo(t, service("d/a", 2))}}
		if err := whole.resets.add(&discoveryv1.ResetBucket{Kind: discoveryv1.Kind_KIND_SERVICE, Bucket: bucket, Buckets: buckets}); err != nil {
			t.Fatal(err)
		}
		h.commit(whole)
		for name := range initial {
			same := uint32(resource.NameHash(name.Name)%uint64(buckets)) == bucket
			want := name == other || name.Name == "d/a" || !same
			if h.has(name) != want {
				t.Errorf("%d buckets: held %s: %v, want %v", buckets, name, !want, want)
			}
		}
	}
}

func TestTheLastMentionOfANameCounts(t *testing.T) {
	a := newAssembler(resource.Kinds, 1<<20)
	gone := []*discoveryv1.ResourceName{serviceName("d/a").Proto()}
	pieces := []*piece{
		{Nonce: 1, Resources: []*discoveryv1.Resource{service("d/a", 1)}},
		{Nonce: 2, Removed: gone},
		{Nonce: 3, Resources: []*discoveryv1.Resource{service("d/a", 3)}, Removed: gone, Commit: true},
	}
	var whole *assembled
	for _, p := range pieces {
		whole, _ = a.add(p)
	}
	h := newHeld(resource.Kinds, nil, nil)
	tx := h.commit(whole)
	if tx.Resources.Len() != 1 || len(tx.Removed) != 0 || h.sum() != digestOf(service("d/a", 3)) {
		t.Errorf("got %v, held %v", tx, h.versions)
	}
}

func TestFullMeansThatEveryKindIsResetWhole(t *testing.T) {
	var c coverage
	for i, kind := range resource.Kinds {
		if c.whole(resource.Kinds) {
			t.Fatalf("whole after %d kinds", i)
		}
		for bucket := range uint32(2) {
			_ = c.add(&discoveryv1.ResetBucket{Kind: kind, Bucket: bucket, Buckets: 2})
		}
	}
	if !c.whole(resource.Kinds) {
		t.Error("not whole")
	}
}

// FuzzAssembler feeds arbitrary decodable messages: nothing may panic, nothing
// may come out but by a commit, and the digest must stay that of what is held.
func FuzzAssembler(f *testing.F) {
	seed := func(pieces ...*piece) {
		var data []byte
		for _, p := range pieces {
			encoded, _ := proto.Marshal(p)
			data = append(append(data, byte(len(encoded)>>8), byte(len(encoded))), encoded...)
		}
		f.Add(data)
	}
	seed(&piece{Nonce: 1, Resources: []*discoveryv1.Resource{service("d/a", 1)}},
		&piece{Nonce: 2, Commit: true, Removed: []*discoveryv1.ResourceName{serviceName("d/a").Proto()}})
	seed(&piece{Nonce: 1, Commit: true, Resets: []*discoveryv1.ResetBucket{{Kind: 1, Bucket: 1, Buckets: 2}},
		Resources: []*discoveryv1.Resource{service("d/a", 1), endpoints("d/b", 2)}}, &piece{Nonce: 2, Commit: true})
	f.Fuzz(func(t *testing.T, data []byte) {
		a := newAssembler(resource.Kinds, 4096)
		h := newHeld(resource.Kinds, nil, nil)
		for len(data) >= 2 {
			length := min(int(data[0])<<8|int(data[1]), len(data)-2)
			p := new(piece)
			err := proto.Unmarshal(data[2:2+length], p)
			data = data[2+length:]
			if err != nil {
				continue
			}
			whole, err := a.add(p)
			if err != nil {
				return
			}
			if (whole != nil) != p.GetCommit() {
				t.Fatalf("commit %v gave %v", p.GetCommit(), whole)
			}
			if whole != nil {
				checkTransaction(t, h, h.commit(whole))
			}
		}
	})
}

func checkTransaction(t *testing.T, h *held, tx *Transaction) {
	t.Helper()
	seen := map[resource.Name]bool{}
	for r := range tx.Resources.All() {
		name := resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}
		if seen[name] || !h.has(name) {
			t.Fatalf("%s twice, or not held", name)
		}
		seen[name] = true
	}
	for _, name := range tx.Removed {
		if seen[name] || h.has(name) {
			t.Fatalf("%s twice, or still held", name)
		}
		seen[name] = true
	}
	initial := map[resource.Name]uint64{}
	for kind, versions := range h.versions {
		for name, version := range versions {
			initial[resource.Name{Kind: kind, Name: name}] = version
		}
	}
	if again := newHeld(resource.Kinds, initial, nil); again.sum() != h.sum() {
		t.Fatalf("digest %x of content with digest %x", h.sum(), again.sum())
	}
}
