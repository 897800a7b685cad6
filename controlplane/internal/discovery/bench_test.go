package discovery

import (
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// BenchmarkOneChange is what one changed resource costs one stream up to the
// transport: the node's view, the difference, the digest and the piece. It must
// not depend on the number of Services.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(sizeName(n), func(b *testing.B) {
			old, now := oneChange(b, n)
			all := kindsOf(nil)
			digest := all.digest(old)
			p := pieces{limit: defaultPieceBytes, send: func(*frame) error { return nil }}
			b.ReportAllocs()
			for b.Loop() {
				tx, _, _ := difference(old, digest, now.Snapshot().View("n"), all, defaultPieceBytes)
				if err := p.write(tx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFullSync is the same for everything.
func BenchmarkFullSync(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(sizeName(n), func(b *testing.B) {
			_, now := oneChange(b, n)
			p := pieces{limit: defaultPieceBytes, send: func(*frame) error { return nil }}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.write(everything(now, kindsOf(nil))); err != nil {
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

func oneChange(b *testing.B, n int) (old, now snapshot.View) {
	b.Helper()
	r := newReplica(b, nil)
	b.Cleanup(r.stop)
	r.commit(b, "node", nodeConfig("n", "z1"))
	r.commit(b, "services", services(n, 80)...)
	old = r.store.Current().View("n")
	r.commit(b, "one", service("d/s1", 81))
	return old, r.store.Current().View("n")
}
