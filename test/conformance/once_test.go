package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
)

var onceWorlds = newPool(func(l *lab.Lab) (proxy, error) { return once{l}, nil })

// mode is the data plane to use, if not the one that the scenarios ask for.
var mode = os.Getenv("PORTOLAN_CONFORMANCE_MODE")

// once is a node that portolan apply programs.
type once struct{ lab *lab.Lab }

func (o once) enforce(t *testing.T, step *scenario.Step) {
	directory := t.TempDir()
	manifests := filepath.Join(directory, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{filepath.Join(directory, "proxy.yaml"): step.Proxy}
	for name, data := range step.Manifests {
		files[filepath.Join(manifests, name)] = data
	}
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"apply", "-f", manifests, "--node", node, "--config", filepath.Join(directory, "proxy.yaml"), "--quiet"}
	if mode != "" {
		args = append(args, "--mode", mode)
	}
	output, err := o.lab.Node.Run("", program("portolan"), args...)
	if output != "" {
		t.Logf("step %d: portolan apply:\n%s", step.Number, output)
	}
	if err != nil {
		t.Fatalf("step %d: %v", step.Number, err)
	}
}
