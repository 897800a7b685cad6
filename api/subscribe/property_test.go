package subscribe

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// world is a small, slow and obviously correct server: content with a history,
// sent in pieces of two resources, that hangs up where faults say.
type world struct {
	discoveryv1.UnimplementedDiscoveryServiceServer
	mu       sync.Mutex
	revision uint64
	content  content
	history  map[uint64]content
	changed  chan struct{}
	// faults says after how many more pieces the stream breaks; taken in turn.
	faults []int
}

type content map[resource.Name]*discoveryv1.Resource

func (c content) versions() map[resource.Name]uint64 {
	versions := make(map[resource.Name]uint64, len(c))
	for name, r := range c {
		versions[name] = r.GetVersion()
	}
	return versions
}

func newWorld() *world {
	return &world{content: content{}, history: map[uint64]content{0: {}}, changed: make(chan struct{})}
}

func (w *world) change(fn func(content)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content = maps.Clone(w.content)
	fn(w.content)
	w.revision++
	w.history[w.revision] = w.content
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) now() (content, uint64, chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.content, w.revision, w.changed
}

// fault tells whether the stream breaks now.
func (w *world) fault() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) == 0 {
		return false
	}
	w.faults[0]--
	if w.faults[0] > 0 {
		return false
	}
	w.faults = w.faults[1:]
	return true
}

func (w *world) StreamDeltas(stream rpc) error {
	request, err := stream.Recv()
	if err != nil {
		return err
	}
	now, revision, changed := w.now()
	answer := resumed(now, request.GetSubscribe().GetResume())
	nonce := uint64(0)
	for {
		if nonce, err = w.send(stream, answer, now, revision, nonce); err != nil {
			return err
		}
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if request.GetAck().GetResponseNonce() != nonce || request.GetAck().GetDigest() != digestOfContent(now) {
			return status.Errorf(codes.Aborted, "got %v", request)
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		old := now
		now, revision, changed = w.now()
		answer = difference(old, now)
	}
}

// answer is what a transaction says, before it is cut into pieces.
type answer struct {
	set     []*discoveryv1.Resource
	removed []*discoveryv1.ResourceName
	resets  []*discoveryv1.ResetBucket
}

func difference(old, now content) answer {
	var a answer
	for name, r := range now {
		if old[name].GetVersion() != r.GetVersion() {
			a.set = append(a.set, r)
		}
	}
	for name := range old {
		if now[name] == nil {
			a.removed = append(a.removed, name.Proto())
		}
	}
	return a
}

func resumed(now content, resume *discoveryv1.Resume) answer {
	var a answer
	for _, kind := range resource.Kinds {
		theirs := resource.Digest{0}
		for _, d := range resume.GetDigests() {
			if d.GetKind() == kind {
				theirs = d.GetBuckets()
			}
		}
		buckets := uint64(len(theirs))
		ours := make(resource.Digest, buckets)
		for name, r := range now {
			if name.Kind == kind {
				ours.Toggle(name.Name, r.GetVersion())
			}
		}
		for bucket := range ours {
			if ours[bucket] != theirs[bucket] {
				a.resets = append(a.resets, &discoveryv1.ResetBucket{Kind: kind, Bucket: uint32(bucket), Buckets: uint32(buckets)})
			}
		}
		for name, r := range now {
			if bucket := resource.NameHash(name.Name) % buckets; name.Kind == kind && ours[bucket] != theirs[bucket] {
				a.set = append(a.set, r)
			}
		}
	}
	return a
}

func (w *world) send(stream rpc, a answer, now content, revision, nonce uint64) (uint64, error) {
	for {
		nonce++
		part := min(2, len(a.set))
		p := &piece{Nonce: nonce, Revision: revision, Resources: a.set[:part], Removed: a.removed, Resets: a.resets}
		a = answer{set: a.set[part:]}
		if len(a.set) == 0 {
			p.Commit, p.Digest = true, digestOfContent(now)
			p.Source = &discoveryv1.SourceVersion{Source: "w", Services: revision}
		}
		if w.fault() {
			return 0, status.Error(codes.Unavailable, "fault")
		}
		if err := stream.Send(p); err != nil || p.Commit {
			return nonce, err
		}
	}
}

func digestOfContent(c content) uint64 {
	var all []*discoveryv1.Resource
	for _, r := range c {
		all = append(all, r)
	}
	return digestOf(all...)
}

// checker is a keeper that finds every state that never was.
type checker struct {
	keeper
	w      *world
	errors []string
}

func (c *checker) Apply(ctx context.Context, tx *Transaction) Result {
	result := c.keeper.Apply(ctx, tx)
	c.w.mu.Lock()
	want := c.w.history[tx.Revision].versions()
	c.w.mu.Unlock()
	if got := c.copy(); !maps.Equal(got, want) {
		c.errors = append(c.errors, fmt.Sprintf("revision %d: got %v, want %v", tx.Revision, got, want))
	}
	return result
}

// TestWhatIsHeldEqualsTheServersView runs random histories against a server that
// breaks streams anywhere: every state that the handler sees is one that the
// server had, and when all is quiet it is the server's.
func TestWhatIsHeldEqualsTheServersView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Hidden in a struct because rapid asks a *testing.T for its deadline, which
		// has no meaning in fake time.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			w := newWorld()
			w.faults = rapid.SliceOfN(rapid.IntRange(1, 6), 0, 6).Draw(rt, "faults")
			w.change(func(c content) { mutate(rt, c) })
			n := &network{}
			defer n.serve("cp:1", w)()
			handler := &checker{w: w}
			s, stop := start(t, n.config(handler, "cp:1"))
			defer stop()
			for range rapid.IntRange(0, 10).Draw(rt, "steps") {
				w.change(func(c content) { mutate(rt, c) })
				time.Sleep(time.Duration(rapid.IntRange(0, 200).Draw(rt, "ms")) * time.Millisecond)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			now, _, _ := w.now()
			if !maps.Equal(handler.copy(), now.versions()) || s.held.sum() != digestOfContent(now) {
				rt.Errorf("held %v, want %v", handler.copy(), now.versions())
			}
			if len(handler.errors) > 0 {
				rt.Error(handler.errors)
			}
			if mismatches := s.Status().DigestMismatches; mismatches != 0 {
				rt.Errorf("%d mismatches", mismatches)
			}
		})
	})
}

func mutate(rt *rapid.T, c content) {
	for range rapid.IntRange(0, 6).Draw(rt, "mutations") {
		name := fmt.Sprintf("d/%d", rapid.IntRange(0, 9).Draw(rt, "name"))
		version := uint32(rapid.IntRange(0, 3).Draw(rt, "version"))
		kind, r := discoveryv1.Kind_KIND_SERVICE, service(name, version)
		if rapid.Bool().Draw(rt, "endpoints") {
			kind, r = discoveryv1.Kind_KIND_ENDPOINT_SET, endpoints(name, version)
		}
		if key := (resource.Name{Kind: kind, Name: name}); version == 0 {
			delete(c, key)
		} else {
			c[key] = r
		}
	}
}
