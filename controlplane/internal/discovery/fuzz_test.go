package discovery

import (
	"testing"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// FuzzSubscribe answers arbitrary first requests: each is refused with a reason or
// leads to pieces whose digest is the view's.
func FuzzSubscribe(f *testing.F) {
	view := viewOf(f, 50)
	add := func(s *discoveryv1.Subscribe) {
		encoded, err := proto.Marshal(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Subscribe{Subscribe: s}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	node := &discoveryv1.Node{Id: "n"}
	add(&discoveryv1.Subscribe{Node: node})
	add(&discoveryv1.Subscribe{Node: node, Kinds: []discoveryv1.Kind{1, 2}, Resume: &discoveryv1.Resume{
		Digests: []*discoveryv1.KindDigest{{Kind: 1, Buckets: make([]uint64, 4)}, {Kind: 2, Buckets: []uint64{view.Digest(2).Sum()}}}}})
	f.Fuzz(func(t *testing.T, data []byte) {
		decoded := new(discoveryv1.StreamDeltasRequest)
		if proto.Unmarshal(data, decoded) != nil {
			return
		}
		subscribe, err := checked(request{StreamDeltasRequest: decoded})
		if err != nil {
			return
		}
		of := kindsOf(subscribe.GetKinds())
		tx, err := resumed(view, of, subscribe.GetResume().GetDigests())
		if err != nil {
			return
		}
		commits := 0
		p := pieces{limit: 500, send: func(fr *frame) error {
			piece := new(discoveryv1.StreamDeltasResponse)
			if err := proto.Unmarshal(fr.parts.Materialize(), piece); err != nil {
				return err
			}
			for _, r := range piece.GetResources() {
				if !of.has(resource.KindOf(r)) {
					t.Errorf("sent %s, which was not asked for", r.GetName())
				}
			}
			if piece.GetCommit() {
				commits++
			}
			return nil
		}}
		if err := p.write(tx); err != nil || commits != 1 || tx.digest != of.digest(view) {
			t.Fatalf("%d commits, digest %x, %v", commits, tx.digest, err)
		}
	})
}
