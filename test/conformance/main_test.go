package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/portolan-net/portolan/test/netns"
)

// binary names the environment variable that says where the program is.
const binary = "PORTOLAN_CONFORMANCE_BINARY"

// TestMain builds the program and runs the tests where they may make namespaces.
func TestMain(m *testing.M) {
	if netns.Inside() {
		os.Exit(m.Run())
	}
	os.Exit(buildAndEnter())
}

func buildAndEnter() int {
	directory, err := os.MkdirTemp("", "portolan-conformance-")
	if err == nil {
		defer os.RemoveAll(directory)
		err = build(filepath.Join(directory, "portolan"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return netns.Reexec()
}

func build(to string) error {
	command := exec.Command("go", "build", "-o", to, "github.com/portolan-net/portolan/cmd/portolan")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building portolan: %w\n%s", err, output)
	}
	return os.Setenv(binary, to)
}
