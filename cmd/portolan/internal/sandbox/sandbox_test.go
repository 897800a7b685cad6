package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary be the program that runs inside.
func TestMain(m *testing.M) {
	if Directory() == "" {
		os.Exit(m.Run())
	}
	fmt.Println("uid", os.Getuid(), "in", Directory())
	if os.Args[1] == "fail" {
		os.Exit(3)
	}
}

func TestTheProgramInsideIsRoot(t *testing.T) {
	var out bytes.Buffer
	if err := Run(t.Context(), Config{Arguments: []string{"x"}, Directory: "/d", Out: &out, Err: os.Stderr}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "uid 0 in /d\n" {
		t.Error(out.String())
	}
	out.Reset()
	if err := Run(t.Context(), Config{Arguments: []string{"x"}, Directory: "/e", Out: &out, Err: os.Stderr, AsRoot: true}); err != nil || out.String() != "uid 0 in /e\n" {
		t.Error(out.String(), err)
	}
}

func TestAFailureInsideIsAFailure(t *testing.T) {
	err := Run(context.Background(), Config{Arguments: []string{"fail"}, Directory: "/d", Out: &bytes.Buffer{}, Err: os.Stderr})
	if !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

func TestAdviceNamesTheSetting(t *testing.T) {
	for _, o := range obstacles {
		dir := t.TempDir()
		file := filepath.Join(dir, strings.ReplaceAll(o.name, ".", "/"))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(o.off+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := advise(fmt.Errorf("fork/exec: %w", syscall.EPERM), "it", dir).Error()
		for _, want := range []string{o.name + " is " + o.off, "sudo sysctl -w " + o.name + "=" + o.on, "run it with sudo"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %q", want, got)
			}
		}
	}
	if got := advise(syscall.EPERM, "it", t.TempDir()).Error(); !strings.Contains(got, "sudo") {
		t.Error(got)
	}
	if got := advise(syscall.ENOENT, "it", t.TempDir()); !errors.Is(got, syscall.ENOENT) || strings.Contains(got.Error(), "sudo") {
		t.Error(got)
	}
}
