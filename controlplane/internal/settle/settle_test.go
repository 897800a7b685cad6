package settle

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAFileThatAlwaysChangesCountsInTheEnd(t *testing.T) {
	began := time.Unix(1000, 0)
	now, f := began, new(File)
	for i := 0; !f.Settle(sha256.Sum256(fmt.Append(nil, i)), Broken, now); i++ {
		now = f.Due()
	}
	if now.Sub(began) != End {
		t.Errorf("counts after %v, want %v", now.Sub(began), End)
	}
}

func TestAChangeIsReadAtOnce(t *testing.T) {
	now, f := time.Unix(1000, 0), new(File)
	if f.Settle(sha256.Sum256(nil), Broken, now) || !f.Due().After(now) {
		t.Fatal("broken content counts at once")
	}
	if f.Changed(); f.Due().After(now) {
		t.Error("a change waits")
	}
}

// TestReadDoesNotWait: a named pipe would, and a device has no end.
func TestReadDoesNotWait(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		if _, _, err := Read(path); err == nil || !strings.Contains(err.Error(), "expected a regular file") {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if _, _, err := Read(filepath.Join(t.TempDir(), "nothing")); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: error %v", err)
	}
}
