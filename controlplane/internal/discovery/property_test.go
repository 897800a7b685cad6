package discovery

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"pgregory.net/rapid"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// TestNodesHoldTheirViewsHoweverConnectionsBreak runs random histories against
// real subscribers whose connections break anywhere, also inside transactions.
func TestNodesHoldTheirViewsHoweverConnectionsBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Hidden in a struct because rapid asks a *testing.T for its deadline, which
		// has no meaning in fake time.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			r := newReplica(t, func(c *Config) { c.PieceBytes = rapid.IntRange(50, 400).Draw(rt, "piece") })
			defer r.stop()
			r.commit(t, "n", nodeConfig("n", "z1"))
			names := []string{"n", "m"}
			var agents []*agent
			for _, node := range names {
				a := follow(t, node, r.dial, nil)
				defer a.stop()
				agents = append(agents, a)
			}
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				r.mutate(t, rt)
				if rapid.Bool().Draw(rt, "breaks") {
					r.cut.Store(rapid.Int64Range(1, 3000).Draw(rt, "after"))
					r.cutConnections()
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms")) * time.Millisecond)
			}
			// The last break is now: keepalive pings would use up what a cut left.
			r.cut.Store(0)
			r.cutConnections()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			for i, node := range names {
				if got, want := agents[i].holds(), r.holds(node); !maps.Equal(got, want) {
					rt.Errorf("node %s holds %v, want %v", node, got, want)
				}
				if st := agents[i].Status(); !st.Connected || st.DigestMismatches != 0 || r.state(node) != "SYNCED" {
					rt.Errorf("node %s is %s, %+v", node, r.state(node), st)
				}
			}
			if stats := r.server.Stats(); stats.DigestMismatches != 0 || stats.StaleAcks != 0 {
				rt.Errorf("stats %+v", stats)
			}
		})
	})
}

// mutate commits random content for one owner.
func (r *replica) mutate(t *testing.T, rt *rapid.T) {
	var list []snapshot.Scoped
	owner := rapid.SampledFrom([]string{"a", "b", "n"}).Draw(rt, "owner")
	if owner == "n" {
		r.commit(t, owner, nodeConfig("n", rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(rt, "zone")))
		return
	}
	for i := range rapid.IntRange(0, 40).Draw(rt, "resources") {
		port := uint32(rapid.IntRange(1, 3).Draw(rt, "port"))
		name := fmt.Sprintf("%s/%d", owner, i)
		list = append(list, service(name, port))
		if rapid.Bool().Draw(rt, "zonal") {
			list = append(list, endpointSet("", name, port), endpointSet("z1", name, port+1))
		}
	}
	r.commit(t, owner, list...)
}

// TestADifferenceLeadsToTheView of any node and for any kinds, in pieces of any size, what
// nodes have in common taken from the shelf or made anew.
func TestADifferenceLeadsToTheView(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := snapshot.NewStore(time.Now)
		server := &Server{cfg: Config{Snapshots: store, PieceBytes: rapid.IntRange(1, 300).Draw(rt, "piece")}}
		commitRandomly(rt, store)
		var old []snapshot.View
		for _, node := range []string{"a", "b", "c", "unknown"} {
			old = append(old, store.Current().View(node))
		}
		for range rapid.IntRange(0, 3).Draw(rt, "commits") {
			commitRandomly(rt, store)
		}
		of := kindsOf(rapid.SliceOf(rapid.SampledFrom(resource.Kinds)).Draw(rt, "kinds"))
		for _, from := range old {
			tx, empty, ok := server.difference(from, of.digest(from), store.Current(), of)
			now := store.Current().View(from.Node())
			held, want := contents(from, of), contents(now, of)
			if !ok || tx.view != now || tx.digest != of.digest(now) || empty != maps.Equal(held, want) {
				rt.Fatalf("ok %v, empty %v, digest %x: expected %x", ok, empty, tx.digest, of.digest(now))
			}
			if take(rt, held, tx, server.cfg.PieceBytes); !maps.Equal(held, want) {
				rt.Fatalf("node %s is led to\n%v\nexpected\n%v", from.Node(), held, want)
			}
			everything := server.everything(now, of)
			anew := map[resource.Name]uint64{}
			if take(rt, anew, everything, server.cfg.PieceBytes); !maps.Equal(anew, want) || everything.digest != of.digest(now) {
				rt.Fatalf("node %s is sent\n%v\nas everything, expected\n%v", from.Node(), anew, want)
			}
		}
	})
}

// commitRandomly gives one owner new content.
func commitRandomly(t *rapid.T, store *snapshot.Store) {
	port := uint32(rapid.IntRange(1, 3).Draw(t, "port"))
	owner := rapid.SampledFrom([]string{"s1", "s2", "node/a", "node/b", "node/c"}).Draw(t, "owner")
	var list []snapshot.Scoped
	if node, is := strings.CutPrefix(owner, "node/"); is {
		list = append(list, nodeConfig(node, rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone")))
	} else {
		for i := range rapid.IntRange(0, 10).Draw(t, "resources") {
			name := fmt.Sprintf("%s/%d", owner, i)
			list = append(list, service(name, port), endpointSet(rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone"), name, port))
			if rapid.Bool().Draw(t, "local") {
				list = append(list, localEndpoints(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node"), name, port))
			}
		}
	}
	tx := store.Begin()
	if err := tx.Replace(owner, list); err != nil {
		t.Fatal(err)
	}
	tx.Commit(model.SourceVersion{})
}

// take applies what the pieces of a transaction say once they are decoded.
func take(t *rapid.T, held map[resource.Name]uint64, tx transaction, limit int) {
	c := codec{encoding.GetCodecV2(proto.Name)}
	resources, sent := 0, 0
	p := pieces{limit: limit, send: func(f *frame) error {
		parts, err := c.Marshal(f)
		if err != nil {
			return err
		}
		var got discoveryv1.StreamDeltasResponse
		if err := c.Unmarshal(parts, &got); err != nil {
			return err
		}
		for _, name := range got.GetRemoved() {
			delete(held, resource.NameOf(name))
		}
		for _, r := range got.GetResources() {
			held[resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}] = r.GetVersion()
		}
		resources, sent = resources+len(got.GetResources()), sent+parts.Len()
		return nil
	}}
	if err := p.write(tx); err != nil {
		t.Fatal(err)
	}
	if p.resources != resources || p.sent != sent {
		t.Fatalf("counted %d resources and %d bytes, sent %d and %d", p.resources, p.sent, resources, sent)
	}
}

// TestAnyDivisionIntoBucketsIsAnswered resumes with any number of buckets.
func TestAnyDivisionIntoBucketsIsAnswered(t *testing.T) {
	kind := discoveryv1.Kind_KIND_SERVICE
	rapid.Check(t, func(rt *rapid.T) {
		store := snapshot.NewStore(time.Now)
		tx := store.Begin()
		if err := tx.Replace("o", services(rapid.IntRange(0, 50).Draw(rt, "n"), 80)); err != nil {
			rt.Fatal(err)
		}
		now, _ := tx.Commit(model.SourceVersion{})
		view := now.View("n")
		held := map[string]uint64{}
		theirs := make(resource.Digest, 1<<rapid.IntRange(0, 10).Draw(rt, "buckets"))
		for entry := range view.Bucket(kind, 0, 1) {
			version := rapid.SampledFrom([]uint64{0, entry.Version, entry.Version + 1}).Draw(rt, "held")
			if version != 0 {
				held[entry.Name.Name] = version
				theirs.Toggle(entry.Name.Name, version)
			}
		}
		answer, err := resumed(view, kindsOf(nil), []*discoveryv1.KindDigest{{Kind: kind, Buckets: theirs}})
		if err != nil {
			rt.Fatal(err)
		}
		for _, reset := range answer.resets {
			maps.DeleteFunc(held, func(name string, _ uint64) bool {
				return resource.NameHash(name)%uint64(reset.GetBuckets()) == uint64(reset.GetBucket())
			})
		}
		for entry := range answer.entries {
			held[entry.Name.Name] = entry.Version
		}
		for entry := range view.Bucket(kind, 0, 1) {
			if held[entry.Name.Name] != entry.Version {
				rt.Fatalf("%s is %x, want %x", entry.Name, held[entry.Name.Name], entry.Version)
			}
			delete(held, entry.Name.Name)
		}
		if len(held) > 0 {
			rt.Fatalf("still holds %v", held)
		}
	})
}
