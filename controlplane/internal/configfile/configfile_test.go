package configfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// rig follows a file of which content that begins with "bad" cannot be used.
type rig struct {
	t    *testing.T
	path string

	mu  sync.Mutex
	log []string
}

func start(t *testing.T, path, held string) *rig {
	t.Helper()
	r := &rig{t: t, path: path}
	f := New(Config{Path: path, Held: []byte(held), Prepare: r.prepare, Refused: r.refused, Logger: hclog.NewNullLogger()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) prepare(content []byte) (func(), error) {
	if bytes.HasPrefix(content, []byte("bad")) {
		return nil, fmt.Errorf("%q is bad", content)
	}
	return func() { r.note(string(content)) }, nil
}

func (r *rig) refused(why error) {
	switch {
	case why == nil:
		r.note("well again")
	case errors.Is(why, os.ErrNotExist):
		r.note("gone")
	default:
		r.note(why.Error())
	}
}

func (r *rig) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what)
}

func (r *rig) noted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

// expect waits until exactly that has happened, and that nothing else does.
func (r *rig) expect(want ...string) {
	r.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(r.noted()) < len(want) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(30 * time.Millisecond)
	if got := r.noted(); !slices.Equal(got, want) {
		r.t.Fatalf("got %q, want %q", got, want)
	}
}

// write replaces a file as a whole, so that nothing depends on how fast it is.
func write(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(content), 0o600), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
}

func TestContentThatIsGoodIsTakenAndOtherRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "one\n")
	r := start(t, path, "one\n")
	r.expect()
	write(t, path, "two\n")
	r.expect("two\n")
	write(t, path, "bad\n")
	r.expect("two\n", `"bad\n" is bad`)
	write(t, path, "bad\n")
	r.expect("two\n", `"bad\n" is bad`)
	write(t, path, "two\n")
	r.expect("two\n", `"bad\n" is bad`, "two\n", "well again")
}

func TestAChangeBeforeTheFileIsWatchedIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "two\n")
	start(t, path, "one\n").expect("two\n")
}

func TestAnotherFileIsNoChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "one\n")
	r := start(t, path, "one\n")
	write(t, filepath.Join(filepath.Dir(path), "other.yaml"), "two\n")
	r.expect()
}

// TestATornFileIsNotRefused: it is emptied and written in two pieces, the first of
// which cannot be used. What stays that way is refused in the end.
func TestATornFileIsNotRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	r := &rig{t: t, path: path}
	f := New(Config{Path: path, Held: []byte("one\n"), Prepare: r.prepare, Refused: r.refused, Logger: hclog.NewNullLogger()})
	began := time.Unix(1000, 0)
	for _, step := range []struct {
		after   time.Duration
		content string
		want    []string
	}{
		{0, "", nil},
		{10 * time.Millisecond, "bad: half of ", nil},
		{150 * time.Millisecond, "bad: half of ", nil},
		{160 * time.Millisecond, "two\n", []string{"two\n"}},
		{200 * time.Millisecond, "bad: half of ", []string{"two\n"}},
		{500 * time.Millisecond, "bad: half of ", []string{"two\n", `"bad: half of " is bad`}},
	} {
		write(t, path, step.content)
		f.look(began.Add(step.after))
		if got := r.noted(); !slices.Equal(got, step.want) {
			t.Fatalf("after %v: got %q, want %q", step.after, got, step.want)
		}
	}
}

func TestAFileThatIsGoneChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "one\n")
	r := start(t, path, "one\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.expect("gone")
	write(t, path, "two\n")
	r.expect("gone", "two\n", "well again")
}

// TestAConfigMapsFilesChangeTogether: kubelet swaps the link that they are reached
// by, and the file itself is never written.
func TestAConfigMapsFilesChangeTogether(t *testing.T) {
	dir := t.TempDir()
	version := func(name, content string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "config.yaml"), content)
	}
	swap := func(to string) {
		t.Helper()
		next := filepath.Join(dir, "..data_tmp")
		if err := errors.Join(os.Symlink(to, next), os.Rename(next, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "one\n")
	swap("..1")
	path := filepath.Join(dir, "config.yaml")
	if err := os.Symlink("..data/config.yaml", path); err != nil {
		t.Fatal(err)
	}
	r := start(t, path, "one\n")
	r.expect()
	version("..2", "two\n")
	swap("..2")
	r.expect("two\n")
}
