package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/portolan-net/portolan/test/netns"
)

// workDirectory names the environment variable that says where the programs and what
// they need are.
const workDirectory = "PORTOLAN_CONFORMANCE_DIRECTORY"

func program(name string) string { return filepath.Join(os.Getenv(workDirectory), "bin", name) }

// TestMain builds the programs and runs the tests where they may make namespaces.
func TestMain(m *testing.M) { netns.WithPrograms(m, build) }

func build(directory string) error {
	command := exec.Command("go", "build", "-o", filepath.Join(directory, "bin")+string(filepath.Separator), "github.com/portolan-net/portolan/cmd/...")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	return os.Setenv(workDirectory, directory)
}
