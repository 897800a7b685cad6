package discovery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/testing/protocmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

func viewOf(t testing.TB, n int) snapshot.View {
	t.Helper()
	store := snapshot.NewStore(time.Now)
	tx := store.Begin()
	if err := tx.Replace("o", services(n, 80)); err != nil {
		t.Fatal(err)
	}
	now, _ := tx.Commit(model.SourceVersion{Source: "s", Services: 1, EndpointSlices: 2, Nodes: 3, ServiceCIDRs: 4})
	return now.View("n")
}

func TestAPieceIsOneMessageThroughTheCodec(t *testing.T) {
	view := viewOf(t, 3)
	server := &Server{cfg: Config{PieceBytes: 1 << 20}}
	all := kindsOf(nil)
	c := codec{encoding.GetCodecV2(proto.Name)}
	var got discoveryv1.StreamDeltasResponse
	p := pieces{limit: 1 << 20, send: func(f *frame) error {
		parts, err := c.Marshal(f)
		if err != nil {
			return err
		}
		return c.Unmarshal(parts, &got)
	}}
	if err := p.write(server.everything(view, all)); err != nil {
		t.Fatal(err)
	}
	want := discoveryv1.StreamDeltasResponse{Nonce: 1, Revision: 1, Commit: true, Digest: all.digest(view),
		Source: &discoveryv1.SourceVersion{Source: "s", Services: 1, EndpointSlices: 2, Nodes: 3, ServiceCidrs: 4}}
	for _, kind := range all.list() {
		want.Resets = append(want.Resets, &discoveryv1.ResetBucket{Kind: kind, Buckets: 1})
	}
	for entry := range view.All(all.has) {
		r, err := entry.Decode()
		if err != nil {
			t.Fatal(err)
		}
		want.Resources = append(want.Resources, r)
	}
	if diff := cmp.Diff(&want, &got, protocmp.Transform()); diff != "" || c.Name() != "proto" {
		t.Error(diff)
	}
}

func TestAResourceCostsAPieceNoCopyAndNoAllocation(t *testing.T) {
	view := viewOf(t, 1000)
	var entries []*snapshot.Entry
	for entry := range view.All(kindsOf(nil).has) {
		entries = append(entries, entry)
	}
	p := pieces{limit: 1 << 20}
	p.begin(1)
	p.frames = make(mem.BufferSlice, 1, len(entries)+1)
	allocations := testing.AllocsPerRun(10, func() {
		p.frames = p.frames[:1]
		for _, entry := range entries {
			p.add((*mem.SliceBuffer)(&entry.Frame), 1)
		}
	})
	if allocations != 0 || &p.frames[1].ReadOnlyData()[0] != &entries[0].Frame[0] {
		t.Errorf("%v allocations", allocations)
	}
}

func TestBehindComparesOnlyWithinOneSource(t *testing.T) {
	ours := model.SourceVersion{Source: "s", Services: 5, EndpointSlices: 5, Nodes: 5, ServiceCIDRs: 5}
	for _, test := range []struct {
		theirs *discoveryv1.SourceVersion
		want   bool
	}{
		{nil, false},
		{&discoveryv1.SourceVersion{Services: 9}, false},
		{&discoveryv1.SourceVersion{Source: "other", Services: 9}, false},
		{&discoveryv1.SourceVersion{Source: "s", Services: 5, EndpointSlices: 5, Nodes: 5, ServiceCidrs: 5}, false},
		{&discoveryv1.SourceVersion{Source: "s", Services: 6}, true},
		{&discoveryv1.SourceVersion{Source: "s", EndpointSlices: 6}, true},
		{&discoveryv1.SourceVersion{Source: "s", Nodes: 6}, true},
		{&discoveryv1.SourceVersion{Source: "s", ServiceCidrs: 6}, true},
	} {
		if got := behind(ours, test.theirs); got != test.want {
			t.Errorf("behind %v: %v", test.theirs, got)
		}
	}
}
