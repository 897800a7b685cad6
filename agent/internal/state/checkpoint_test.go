package state

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestUnfinishedCheckpointsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "checkpoint")
	if _, err := New().Snapshot(Checkpoint{}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkpoint.123", "checkpoint.4567", "checkpoint.old", "other.123"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveLeftovers(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if want := []string{"checkpoint", "checkpoint.old", "other.123"}; !slices.Equal(left, want) {
		t.Errorf("left: %v, want %v", left, want)
	}
}
