package bundle

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

func answers() *asktest.Answers {
	return &asktest.Answers{
		Nodes:    &introspectionv1.ListNodesResponse{Nodes: []*introspectionv1.NodeStatus{{Node: "berlin-7", Peer: "10.1.2.3:4567", LastError: "Service payroll/db-main: no room"}}},
		Problems: &introspectionv1.ListProblemsResponse{Problems: []*introspectionv1.Problem{{Object: "EndpointSlice payroll/db-main-x7k2p", Message: "fd12::9 is not allowed, 127.0.0.1 neither"}}},
		View: &introspectionv1.GetViewResponse{Services: []*introspectionv1.ServiceView{{Name: "payroll/db-main", Ports: []*introspectionv1.PortView{{Frontends: []string{"10.96.0.9:80", "[fd12::9]:80"}}}},
			{Name: "default/kubernetes"}}},
		Compared: map[string]*introspectionv1.CompareNodeResponse{"berlin-7": {Comparison: &discoveryv1.Comparison{Differences: []*discoveryv1.KernelDifference{{Key: "TCP 10.96.0.9:80"}}}}},
	}
}

// read returns the archive's files.
func read(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	compressed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		content, readErr := io.ReadAll(archive)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "portolan-bundle/")] = string(content)
	}
}

func gather(t *testing.T, arguments ...string) (files map[string]string, out, errOut, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "b.tar.gz")
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, `up{node="berlin-7"} 1`)
	}))
	t.Cleanup(pages.Close)
	arguments = append([]string{"-f", path, "--server", asktest.Serve(t, answers()), "--node", "berlin-7", "--kernel", "--page", pages.URL + "/metrics," + pages.URL + "/nothing"}, arguments...)
	out, errOut, err := asktest.Run(t, command(func() time.Time { return time.Unix(0, 0) }, "v1"), arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, path), out, errOut, path
}

func TestABundleHasNoNamesAndNoAddresses(t *testing.T) {
	files, out, errOut, path := gather(t)
	var all strings.Builder
	for name, content := range files {
		all.WriteString(name + "\n" + content + "\n")
	}
	for _, secret := range []string{"berlin", "payroll", "db-main", "10.1.2.3", "10.96.0.9", "fd12::9"} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%s is in the bundle:\n%s", secret, all.String())
		}
	}
	for name, want := range map[string]string{
		"control-plane-1/nodes.json":               `Service namespace-1/service-1: no room`,
		"control-plane-1/problems.json":            `EndpointSlice namespace-1/service-1-x7k2p`,
		"control-plane-1/services.json":            `default/kubernetes`,
		"control-plane-1/nodes/node-1/kernel.json": "TCP 198.18.0.",
		"pages/1.txt": `up{node="node-1"} 1`,
		"errors.txt":  "404 Not Found",
		"bundle.txt":  "portolan v1",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s: %q is not in:\n%s", name, want, files[name])
		}
	}
	if !strings.Contains(files["control-plane-1/problems.json"], "127.0.0.1 neither") {
		t.Error("loopback addresses tell nothing, and are kept")
	}
	names, err := os.ReadFile(path + ".names.json")
	if err != nil || !strings.Contains(string(names), `"node-1": "berlin-7"`) || !strings.Contains(string(names), `"service-1": "db-main"`) {
		t.Errorf("names %s, error %v", names, err)
	}
	if !strings.Contains(out, "what its names and addresses stand for; keep it") || !strings.Contains(errOut, "not in the bundle: page http://127.0.0.1:") {
		t.Errorf("said %q and %q", out, errOut)
	}
}

func TestNamesMayBeKept(t *testing.T) {
	files, _, _, path := gather(t, "--names")
	if !strings.Contains(files["control-plane-1/nodes.json"], "berlin-7") {
		t.Errorf("files %v", files)
	}
	if _, err := os.Stat(path + ".names.json"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestABundleOfAControlPlaneThatIsAwayHasTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	_, errOut, err := asktest.Run(t, Command("v1"), "-f", path, "--server", "unix:/nowhere", "--timeout", "100ms", "--local")
	if err != nil || !strings.Contains(errOut, "not in the bundle: control-plane-1/nodes.json: no control plane at unix:/nowhere") {
		t.Errorf("error %v, said %s", err, errOut)
	}
	if files := read(t, path); files["local/proc/meminfo"] == "" {
		t.Errorf("files %v", files)
	}
	if _, _, err := asktest.Run(t, Command("v1"), "-f", path, "--server", "unix:/nowhere", "--timeout", "100ms"); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("a bundle was overwritten: %v", err)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte("node-a 10.0.0.1 [fd00::1]:80"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := newPseudonyms()
		p.learn("node", "node-a")
		if strings.Contains(" "+string(p.redact(append([]byte("node-a "), text...))), " node-a ") {
			t.Error("a name is left")
		}
	})
}
