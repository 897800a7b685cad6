package manifest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/manifest"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func node(name, zone string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {topology.kubernetes.io/zone: %s}}\n", name, zone)
}

const broken = "---\nkind: [\n"

// watched is a directory of manifests and the store that follows it.
type watched struct {
	t     *testing.T
	dir   string
	store *cluster.Store
}

func newSource(t *testing.T, path string, store *cluster.Store) *manifest.Source {
	t.Helper()
	source, err := manifest.New(manifest.Config{
		Path: path, Writer: admission.NewWriter(store, hclog.NewNullLogger(), admission.DefaultLimits()),
		Logger: hclog.NewNullLogger(), Rand: bytes.NewReader(make([]byte, 8)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// watch follows path, which is in or at dir, until the test ends.
func watch(t *testing.T, dir, path string) *watched {
	t.Helper()
	w := &watched{t, dir, cluster.NewStore()}
	source := newSource(t, path, w.store)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- source.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	w.eventually("synced", func() bool { return w.store.Take().Synced })
	return w
}

func (w *watched) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// nodes returns "name=zone" of all Nodes.
func (w *watched) nodes() string {
	var list []string
	for _, n := range w.store.Nodes() {
		list = append(list, n.Name+"="+n.Zone)
	}
	return strings.Join(list, " ")
}

func (w *watched) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never %s: nodes %q, problems %v", what, w.nodes(), w.store.Problems())
		}
	}
}

func (w *watched) expect(nodes string) {
	w.t.Helper()
	w.eventually("nodes "+nodes, func() bool { return w.nodes() == nodes })
}

// never checks that something does not happen for a while.
func (w *watched) never(what string, happens func() bool) {
	w.t.Helper()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if happens() {
			w.t.Fatalf("%s: nodes %q, problems %v", what, w.nodes(), w.store.Problems())
		}
	}
}

func TestLoadReadsADirectoryOnce(t *testing.T) {
	w := &watched{t, t.TempDir(), cluster.NewStore()}
	w.do(os.MkdirAll(filepath.Join(w.dir, "more", ".hidden"), 0o700))
	w.write("a.yaml", node("n1", "z1"))
	w.write("more/b.json", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n2"}}`)
	w.write("c.yml", broken)
	w.write("d.txt", node("n3", ""))
	w.write(".e.yaml", node("n4", ""))
	w.write("more/.hidden/f.yaml", node("n5", ""))
	w.do(newSource(t, w.dir, w.store).Load(context.Background()))
	if got := w.nodes(); got != "n1=z1 n2=" {
		t.Errorf("nodes %q", got)
	}
	changes := w.store.Take()
	want := model.SourceVersion{Source: "manifest/0000000000000000", Services: 1, EndpointSlices: 1, Nodes: 1, ServiceCIDRs: 1}
	if !changes.Synced || changes.Version != want {
		t.Errorf("synced %v at %+v", changes.Synced, changes.Version)
	}
	if problems := w.store.Problems(); len(problems) != 1 || problems[0].Object != "file c.yml" {
		t.Errorf("problems %v", problems)
	}
}

func TestLoadReadsAFile(t *testing.T) {
	w := &watched{t, t.TempDir(), cluster.NewStore()}
	w.write("a.manifests", node("n1", "z1"))
	w.write("b.yaml", node("n2", ""))
	w.do(newSource(t, filepath.Join(w.dir, "a.manifests"), w.store).Load(context.Background()))
	if got := w.nodes(); got != "n1=z1" {
		t.Errorf("nodes %q", got)
	}
}

func TestLoadNeedsAPath(t *testing.T) {
	err := newSource(t, filepath.Join(t.TempDir(), "none"), cluster.NewStore()).Load(context.Background())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "expected a directory or file") {
		t.Errorf("error %v", err)
	}
}

func TestWatchFollowsWrites(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, dir)
	w.write("a.yaml", node("n1", "z1"))
	w.expect("n1=z1")
	w.write("a.yaml", node("n1", "z2"))
	w.expect("n1=z2")
	w.write("b.yaml", node("n2", "z1"))
	w.expect("n1=z2 n2=z1")
	w.do(os.Remove(filepath.Join(dir, "a.yaml")))
	w.expect("n2=z1")
	w.do(os.Rename(filepath.Join(dir, "b.yaml"), filepath.Join(dir, "c.yaml")))
	w.never("a renamed file's objects went away", func() bool { return w.nodes() != "n2=z1" || len(w.store.Problems()) > 0 })
}

func TestWatchIsFast(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, dir)
	w.write("a.yaml", node("n1", "z"))
	w.expect("n1=z")
	var took []time.Duration
	for i := range 20 {
		zone := fmt.Sprint("z", i)
		began := time.Now()
		w.write("a.yaml", node("n1", zone))
		for w.store.Node("n1").Zone != zone {
			<-w.store.Changed()
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("from write to store: median %v, worst %v", took[len(took)/2], took[len(took)-1])
	if median := took[len(took)/2]; median > 20*time.Millisecond {
		t.Errorf("median %v: it must not wait for more to come", median)
	}
}

func TestWatchNeverEmptiesAFileThatIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, dir)
	w.write("a.yaml", node("n1", "z")+node("n2", "z"))
	w.expect("n1=z n2=z")
	for range 5 {
		// As an editor does: truncate, pause, write in two pieces.
		file, err := os.Create(filepath.Join(dir, "a.yaml"))
		w.do(err)
		time.Sleep(5 * time.Millisecond)
		_, err = file.WriteString(node("n1", "z"))
		w.do(err)
		time.Sleep(5 * time.Millisecond)
		_, err = file.WriteString(node("n2", "z"))
		w.do(errors.Join(err, file.Close()))
	}
	if changes := w.store.Take(); len(changes.Nodes) != 2 {
		t.Fatalf("first changes %v", changes.Nodes)
	}
	w.never("a node went away", func() bool { return !w.store.Take().Empty() || len(w.store.Problems()) > 0 })
}

func TestWatchFollowsEditorsThatRename(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, dir)
	w.write("a.yaml", node("n1", "z1"))
	w.expect("n1=z1")
	w.store.Take()
	path := filepath.Join(dir, "a.yaml")
	// Keep a backup, write anew.
	w.do(os.Rename(path, path+"~"))
	time.Sleep(3 * time.Millisecond)
	w.write("a.yaml", node("n1", "z2"))
	w.expect("n1=z2")
	// Write aside, replace.
	w.write(".a.yaml.swp", node("n1", "z3"))
	w.do(os.Rename(filepath.Join(dir, ".a.yaml.swp"), path))
	w.expect("n1=z3")
}

func TestWhatIsNoFileDoesNotKeepTheOthersFromBeingRead(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a-pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "b-device.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(node("one", "z")), 0o600); err != nil {
		t.Fatal(err)
	}
	w := watch(t, dir, dir)
	w.expect("one=z")
	if n := len(w.store.Problems()); n != 2 {
		t.Errorf("%d problems, want one for each of the two: %v", n, w.store.Problems())
	}
}

func TestWatchKeepsTheLastGoodState(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, dir)
	w.write("a.yaml", node("n1", "z1")+node("n2", "z1"))
	w.expect("n1=z1 n2=z1")
	w.write("a.yaml", node("n1", "z2")+broken)
	w.expect("n1=z2 n2=z1")
	if problems := w.store.Problems(); len(problems) != 1 || problems[0].Object != "file a.yaml" || !strings.Contains(problems[0].Message, "line ") {
		t.Errorf("problems %v", problems)
	}
	w.write("a.yaml", node("n1", "z2"))
	w.expect("n1=z2")
	w.eventually("well", func() bool { return len(w.store.Problems()) == 0 })
}

func TestWatchFindsDirectoriesMadeLater(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, dir)
	w.do(os.MkdirAll(filepath.Join(dir, "x", "y"), 0o700))
	w.write("x/y/a.yaml", node("n1", "z1"))
	w.expect("n1=z1")
	w.write("x/y/a.yaml", node("n1", "z2"))
	w.expect("n1=z2")
	w.do(os.RemoveAll(filepath.Join(dir, "x")))
	w.expect("")
}

func TestWatchKeepsEverythingWhenTheRootGoesAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	w := &watched{t, dir, nil}
	w.do(os.Mkdir(dir, 0o700))
	w.write("a.yaml", node("n1", "z1"))
	w = watch(t, dir, dir)
	w.expect("n1=z1")
	w.do(os.Rename(dir, dir+"-away"))
	w.never("a node went away with the whole directory", func() bool { return w.nodes() != "n1=z1" })
}

func TestWatchFollowsConfigMaps(t *testing.T) {
	dir := t.TempDir()
	w := &watched{t, dir, nil}
	swap := func(version, zone string) {
		w.do(os.Mkdir(filepath.Join(dir, "..v"+version), 0o700))
		w.write("..v"+version+"/a.yaml", node("n1", zone))
		w.do(os.Symlink("..v"+version, filepath.Join(dir, "..data_tmp")))
		w.do(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	swap("1", "z1")
	w.do(os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")))
	for name, path := range map[string]string{"directory": dir, "file": filepath.Join(dir, "a.yaml")} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, dir, path)
			before := w.store.Node("n1").Zone
			swap(name, "of-"+name)
			w.eventually("swapped", func() bool { return w.store.Node("n1").Zone != before })
		})
	}
}

func TestWatchFollowsAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "all")
	w := &watched{t, dir, nil}
	w.write("all", node("n1", "z1"))
	w = watch(t, dir, path)
	w.write("other.yaml", node("n2", "z1"))
	w.write("all", node("n1", "z2"))
	w.expect("n1=z2")
	w.do(os.Remove(path))
	w.expect("")
}
