package snapshot

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func set(name, service string) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: name, Body: &discoveryv1.Resource_EndpointSet{EndpointSet: &discoveryv1.EndpointSet{Service: service}}}
}

func local(name string, port uint32) *discoveryv1.Resource {
	group := &discoveryv1.EndpointGroup{Ports: []*discoveryv1.EndpointPort{{Port: port}}}
	return &discoveryv1.Resource{Name: name, Body: &discoveryv1.Resource_LocalEndpoints{
		LocalEndpoints: &discoveryv1.LocalEndpoints{Local: []*discoveryv1.EndpointGroup{group}}}}
}

func config(node, zone string) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: node, Body: &discoveryv1.Resource_NodeConfig{NodeConfig: &discoveryv1.NodeConfig{Zone: zone}}}
}

func fixedTime() time.Time { return time.Unix(1_700_000_000, 0) }

// held is what a subscriber that follows a view has.
type held map[resource.Name]uint64

func holds(v View) held {
	h := held{}
	for entry := range v.All(func(discoveryv1.Kind) bool { return true }) {
		h[entry.Name] = entry.Version
	}
	return h
}

func (h held) apply(steps []Step) {
	for _, step := range steps {
		delete(h, step.Name())
		if step.To != nil {
			h[step.Name()] = step.To.Version
		}
	}
}

// expected is what a store must hold: for each place the owner that was the last
// to put something there, and what.
type expected map[scopedName]owned

type owned struct {
	owner   string
	version uint64
}

func (e expected) replace(owner string, resources []Scoped) {
	maps.DeleteFunc(e, func(_ scopedName, o owned) bool { return o.owner == owner })
	for _, r := range resources {
		name := resource.Name{Kind: resource.KindOf(r.Resource), Name: r.Resource.GetName()}
		e[scopedName{r.Scope, name}] = owned{owner, r.Resource.GetVersion()}
	}
}

// view is what a node sees: its own, else its zone's, else what all share.
func (e expected) view(v View) held {
	h := held{}
	for _, scope := range []Scope{{}, {Zone: v.Zone()}, {Node: v.Node()}} {
		for at, o := range e {
			if at.scope == scope {
				h[at.name] = o.version
			}
		}
	}
	return h
}

// TestFollowingDeltasEqualsTheView drives random replacements, with owners that
// take names over from each other and nodes that move between zones, and follows
// every node's view by deltas with random lag.
func TestFollowingDeltasEqualsTheView(t *testing.T) {
	nodes := []string{"a", "b", "c", "unknown"}
	zones := []string{"", "z1", "z2"}
	rapid.Check(t, func(t *rapid.T) {
		store := NewStore(fixedTime)
		tx := store.Begin()
		tx.Commit(model.SourceVersion{})
		following, at, want := map[string]held{}, map[string]View{}, expected{}
		for _, node := range nodes {
			at[node] = store.Current().View(node)
			following[node] = holds(at[node])
		}
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			tx := store.Begin()
			for range rapid.IntRange(0, 3).Draw(t, "replaces") {
				replaceRandomly(t, tx, want, zones)
			}
			before := store.Current()
			now, changed := tx.Commit(model.SourceVersion{Services: uint64(step)})
			if (changed == 0) != (now == before) {
				t.Fatalf("%d changes made revision %d of %d", changed, now.Revision, before.Revision)
			}
			for _, node := range nodes {
				if got := holds(now.View(node)); !maps.Equal(got, want.view(now.View(node))) {
					t.Fatalf("node %s sees\n%v\nwant\n%v", node, got, want.view(now.View(node)))
				}
				if rapid.Bool().Draw(t, "lags") {
					continue
				}
				follow(t, store.Current(), node, following, at)
			}
		}
		for _, node := range nodes {
			follow(t, store.Current(), node, following, at)
		}
	})
}

func replaceRandomly(t *rapid.T, tx *Tx, want expected, zones []string) {
	replace := func(owner string, resources []Scoped) {
		must(t, tx.Replace(owner, resources))
		want.replace(owner, resources)
		if tx.Owns(owner) != (len(resources) > 0) {
			t.Fatalf("%s owns something: %v, after it replaced all by %d resources", owner, tx.Owns(owner), len(resources))
		}
	}
	if node := rapid.SampledFrom([]string{"", "", "a", "b", "c"}).Draw(t, "config of"); node != "" {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		replace("node/"+node, []Scoped{{Scope{Node: node}, config(node, zone)}})
		return
	}
	owner := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(t, "owner")
	var resources []Scoped
	for _, name := range []string{"e1", "e2", "e3"} {
		for _, scope := range []Scope{{}, {Zone: "z1"}, {Zone: "z2"}} {
			if rapid.Bool().Draw(t, "has") {
				resources = append(resources, Scoped{scope, set(name, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "content"))})
			}
		}
	}
	if node := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "local on"); node != "" {
		resources = append(resources, Scoped{Scope{Node: node}, local(owner, rapid.Uint32Range(1, 3).Draw(t, "port"))})
	}
	replace(owner, resources)
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func follow(t *rapid.T, current *Snapshot, node string, following map[string]held, at map[string]View) {
	view, way, ok := at[node].To(current)
	if !ok {
		t.Fatalf("log does not reach back from %d to %d", current.Revision, at[node].snapshot.Revision)
	}
	if view != current.View(node) {
		t.Fatalf("node %s goes to %+v: expected %+v", node, view, current.View(node))
	}
	checkSteps(t, following[node], way.Steps())
	for _, kind := range resource.Kinds { // What was committed since changes nothing in an older snapshot.
		checkDigest(t, at[node], kind, following[node])
	}
	following[node].apply(way.Steps())
	at[node] = view
	want := holds(view)
	if !maps.Equal(following[node], want) {
		t.Fatalf("node %s follows to\n%v\nview is\n%v", node, following[node], want)
	}
	for _, kind := range resource.Kinds {
		checkDigest(t, view, kind, want)
	}
}

// checkSteps: in order of their kinds, each from what is held and to something else.
func checkSteps(t *rapid.T, before held, steps []Step) {
	var kinds []int
	for _, step := range steps {
		if from, to := version(step.From), version(step.To); before[step.Name()] != from || from == to {
			t.Fatalf("%v goes from %x to %x, and is held as %x", step.Name(), from, to, before[step.Name()])
		}
		kinds = append(kinds, slices.Index(resource.Kinds, step.Name().Kind))
	}
	if !slices.IsSorted(kinds) {
		t.Fatalf("steps in order %v", kinds)
	}
}

func checkDigest(t *rapid.T, view View, kind discoveryv1.Kind, want held) {
	digest := make(resource.Digest, resource.MaxBuckets)
	for name, version := range want {
		if name.Kind == kind {
			digest.Toggle(name.Name, version)
		}
	}
	if !slices.Equal(view.Digest(kind), digest) {
		t.Fatalf("digest of %v of node %s differs from its content", kind, view.node)
	}
	const buckets = 4
	for name := range want {
		if name.Kind != kind {
			continue
		}
		bucket := int(resource.NameHash(name.Name) % buckets)
		found := 0
		for entry := range view.Bucket(kind, bucket, buckets) {
			if entry.Name == name {
				found++
			}
		}
		if found != 1 {
			t.Fatalf("%v is %d times in bucket %d of %d", name, found, bucket, buckets)
		}
	}
}

func TestZoneVariantsOfEqualContentShareOneFrame(t *testing.T) {
	store := NewStore(fixedTime)
	tx := store.Begin()
	if err := tx.Replace("s", []Scoped{{Scope{Zone: "z1"}, set("e", "x")}, {Scope{Zone: "z2"}, set("e", "x")}}); err != nil {
		t.Fatal(err)
	}
	now, _ := tx.Commit(model.SourceVersion{})
	name := resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "e"}
	a, b := now.lookup(Scope{Zone: "z1"}, name), now.lookup(Scope{Zone: "z2"}, name)
	if &a.Frame[0] != &b.Frame[0] {
		t.Error("two zones with equal content have two frames")
	}
}

func TestNodesThatGoTheSameWayHaveOneSpan(t *testing.T) {
	store := NewStore(fixedTime)
	commit := func(owner string, resources ...Scoped) *Snapshot {
		tx := store.Begin()
		if err := tx.Replace(owner, resources); err != nil {
			t.Fatal(err)
		}
		now, _ := tx.Commit(model.SourceVersion{})
		return now
	}
	for node, zone := range map[string]string{"a": "z1", "b": "z1", "c": "z2"} {
		commit(node, Scoped{Scope{Node: node}, config(node, zone)})
	}
	old := store.Current()
	commit("s", Scoped{Scope{}, set("e", "x")}, Scoped{Scope{Node: "b"}, local("s", 1)})
	now := store.Current()
	way := func(node string) Way {
		_, way, ok := old.View(node).To(now)
		if !ok {
			t.Fatal("the log does not reach back")
		}
		return way
	}
	if way("a").Span != way("b").Span || way("a").Span == way("c").Span {
		t.Error("expected the same Span in one zone, and another in another zone")
	}
	if len(way("a").Own) != 0 || len(way("b").Own) != 1 || len(way("b").Span.Steps()) != 1 {
		t.Errorf("a: %d own steps, b: %d, common: %d", len(way("a").Own), len(way("b").Own), len(way("b").Span.Steps()))
	}
}

func TestAKindIsEitherTheNodesOrCommon(t *testing.T) {
	tx := NewStore(fixedTime).Begin()
	for _, wrong := range []Scoped{{Scope{Node: "a"}, set("e", "x")}, {Scope{}, local("s", 1)}, {Scope{Zone: "z"}, config("a", "z")}} {
		if err := tx.Replace("s", []Scoped{wrong}); err == nil || tx.Owns("s") {
			t.Errorf("%v was accepted in scope %+v", wrong.Resource, wrong.Scope)
		}
	}
}

func TestChangedIsClosedByTheNextCommitOnly(t *testing.T) {
	store := NewStore(fixedTime)
	first, _ := store.Begin().Commit(model.SourceVersion{})
	select {
	case <-first.Changed():
		t.Fatal("closed although nothing was committed")
	default:
	}
	store.Begin().Commit(model.SourceVersion{Services: 1})
	select {
	case <-first.Changed():
		t.Fatal("closed although nothing changed")
	default:
	}
	if got := store.Seen().Services; got != 1 {
		t.Errorf("seen services version %d, want 1", got)
	}
	tx := store.Begin()
	if err := tx.Replace("s", []Scoped{{Scope{}, set("e", "x")}}); err != nil {
		t.Fatal(err)
	}
	tx.Commit(model.SourceVersion{})
	<-first.Changed()
}

// TestWhoTakesOverEqualContentKeepsIt when the owner before has nothing any more,
// although taking it over made no snapshot.
func TestWhoTakesOverEqualContentKeepsIt(t *testing.T) {
	store := NewStore(fixedTime)
	replace := func(owner string, resources ...Scoped) *Snapshot {
		tx := store.Begin()
		if err := tx.Replace(owner, resources); err != nil {
			t.Fatal(err)
		}
		now, _ := tx.Commit(model.SourceVersion{})
		return now
	}
	first := replace("old", Scoped{Scope{}, set("e", "x")})
	if replace("new", Scoped{Scope{}, set("e", "x")}) != first {
		t.Error("equal content made a snapshot")
	}
	if replace("old").Len() != 1 {
		t.Error("what another owner has taken over is gone")
	}
	if replace("new").Len() != 0 {
		t.Error("what nobody has any more is still there")
	}
}

func TestFirstIsClosedByTheFirstCommit(t *testing.T) {
	store := NewStore(fixedTime)
	select {
	case <-store.First():
		t.Fatal("closed before there is a snapshot")
	default:
	}
	for range 2 {
		store.Begin().Commit(model.SourceVersion{})
		select {
		case <-store.First():
		default:
			t.Fatal("not closed although there is a snapshot")
		}
	}
}

// TestWhoeverSeesThePointOfTheSourceAlsoSeesItsSnapshot: the point moves last.
func TestWhoeverSeesThePointOfTheSourceAlsoSeesItsSnapshot(t *testing.T) {
	var store *Store
	var seen model.SourceVersion
	store = NewStore(func() time.Time {
		seen = store.Seen()
		return fixedTime()
	})
	for i := range uint64(3) {
		tx := store.Begin()
		if err := tx.Replace("s", []Scoped{{Scope{}, set("e", fmt.Sprint(i))}}); err != nil {
			t.Fatal(err)
		}
		tx.Commit(model.SourceVersion{Services: i + 1})
		if seen.Services != i || store.Seen().Services != i+1 {
			t.Errorf("seen %d during commit %d, %d after it", seen.Services, i+1, store.Seen().Services)
		}
	}
}

func TestLogForgetsTheOldest(t *testing.T) {
	const logLength = 7
	store := NewStoreOf(fixedTime, logLength)
	first, _ := store.Begin().Commit(model.SourceVersion{})
	snapshots := []*Snapshot{first}
	for i := range 3 * logLength {
		tx := store.Begin()
		if err := tx.Replace("s", []Scoped{{Scope{}, set("e", fmt.Sprint(i))}}); err != nil {
			t.Fatal(err)
		}
		now, _ := tx.Commit(model.SourceVersion{})
		snapshots = append(snapshots, now)
		if i < logLength {
			continue
		}
		if _, _, ok := snapshots[len(snapshots)-2-logLength].View("a").To(now); ok {
			t.Fatalf("revision %d claims to know a commit that the log has forgotten", now.Revision)
		}
		if _, way, ok := snapshots[len(snapshots)-1-logLength].View("a").To(now); !ok || len(way.Steps()) != 1 {
			t.Fatalf("revision %d does not know what changed in the last %d", now.Revision, logLength)
		}
	}
	if n := len(store.Current().log); n != logLength {
		t.Errorf("log has %d entries, want %d", n, logLength)
	}
}

func TestEntryDecodesToWhatWasCommitted(t *testing.T) {
	entry, err := encode("s", Scoped{Resource: set("ns/e", "ns/x")})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := entry.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if decoded.GetName() != "ns/e" || decoded.GetVersion() != entry.Version || decoded.GetEndpointSet().GetService() != "ns/x" {
		t.Errorf("decoded to %v", decoded)
	}
}
