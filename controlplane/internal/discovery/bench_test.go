package discovery

import (
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// BenchmarkOneChange is what one changed resource costs the first stream that is sent it,
// up to the transport: the node's view, the difference, the bundle, the digest and the
// piece. It must not depend on the number of Services.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(sizeName(n), func(b *testing.B) {
			server, old, now := oneChange(b, n)
			all := kindsOf(nil)
			digest := all.digest(old)
			p := pieces{limit: defaultPieceBytes, send: func(*frame) error { return nil }}
			b.ReportAllocs()
			for b.Loop() {
				server.spans = shelf[spanned]{}
				tx, _, _ := server.difference(old, digest, now.Snapshot(), all)
				if err := p.write(tx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNextStream is the same for the streams after the first, with 100 changes.
func BenchmarkNextStream(b *testing.B) {
	server, old, now := changes(b, 1000, 100)
	all := kindsOf(nil)
	digest := all.digest(old)
	p := pieces{limit: defaultPieceBytes, send: func(*frame) error { return nil }}
	b.ReportAllocs()
	for b.Loop() {
		tx, _, _ := server.difference(old, digest, now.Snapshot(), all)
		if err := p.write(tx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFullSync is the same for everything.
func BenchmarkFullSync(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(sizeName(n), func(b *testing.B) {
			server, _, now := oneChange(b, n)
			p := pieces{limit: defaultPieceBytes, send: func(*frame) error { return nil }}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.write(server.everything(now, kindsOf(nil))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func sizeName(n int) string {
	if n == 1000 {
		return "services=1000"
	}
	return "services=10000"
}

func oneChange(b *testing.B, n int) (server *Server, old, now snapshot.View) {
	b.Helper()
	return changes(b, n, 1)
}

// changes returns a server of n Services, of which some have changed between two views.
func changes(b *testing.B, n, changed int) (server *Server, old, now snapshot.View) {
	b.Helper()
	r := newReplica(b, nil)
	b.Cleanup(r.stop)
	r.commit(b, "node", nodeConfig("n", "z1"))
	r.commit(b, "services", services(n, 80)...)
	old = r.store.Current().View("n")
	r.commit(b, "changed", services(changed, 81)...)
	return r.server, old, r.store.Current().View("n")
}
