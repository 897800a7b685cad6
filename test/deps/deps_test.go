package deps

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/portolan-net/portolan/"

type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports,Deps,Module"}, args...)...)
	command.Dir = "../.."
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// TestTheAgentIsThin holds the modules that the agent is linked from, each with
// the reason why.
func TestTheAgentIsThin(t *testing.T) {
	reasons := map[string]string{
		"github.com/beorn7/perks":                   "of prometheus/client_golang",
		"github.com/cespare/xxhash/v2":              "hashes of names; also of prometheus/client_golang",
		"github.com/fatih/color":                    "of hclog",
		"github.com/google/nftables":                "the nftables data plane",
		"github.com/hashicorp/go-hclog":             "logging",
		"github.com/mattn/go-colorable":             "of hclog",
		"github.com/mattn/go-isatty":                "of hclog",
		"github.com/mdlayher/netlink":               "of google/nftables",
		"github.com/mdlayher/socket":                "of google/nftables",
		"github.com/moby/ipvs":                      "the IPVS data plane",
		"github.com/munnerz/goautoneg":              "of prometheus/client_golang",
		"github.com/portolan-net/portolan":          "ourselves",
		"github.com/prometheus/client_golang":       "metrics",
		"github.com/prometheus/client_model":        "of prometheus/client_golang",
		"github.com/prometheus/common":              "of prometheus/client_golang",
		"github.com/prometheus/procfs":              "of prometheus/client_golang",
		"github.com/sirupsen/logrus":                "of moby/ipvs",
		"github.com/spf13/cobra":                    "the command line",
		"github.com/spf13/pflag":                    "of cobra",
		"github.com/vishvananda/netlink":            "the node's addresses",
		"github.com/vishvananda/netns":              "of vishvananda/netlink",
		"golang.org/x/net":                          "of grpc",
		"golang.org/x/sync":                         "error groups",
		"golang.org/x/sys":                          "kernel constants",
		"golang.org/x/text":                         "of golang.org/x/net",
		"google.golang.org/genproto/googleapis/rpc": "of grpc",
		"google.golang.org/grpc":                    "the stream",
		"google.golang.org/protobuf":                "the stream",
	}
	seen := map[string]bool{}
	for _, p := range list(t, "-deps", "./cmd/portolan-agent") {
		if p.Module == nil || seen[p.Module.Path] {
			continue
		}
		seen[p.Module.Path] = true
		if reasons[p.Module.Path] == "" {
			t.Errorf("the agent has come to depend on %s: give the reason here, or do without", p.Module.Path)
		}
	}
	for path := range reasons {
		if !seen[path] {
			t.Errorf("the agent does not depend on %s any more", path)
		}
	}
}

// TestDataFlowsOneWay: no package imports one that comes later in its half's line.
func TestDataFlowsOneWay(t *testing.T) {
	lines := [][]string{
		{"controlplane/internal/model", "controlplane/internal/cluster", "controlplane/internal/admission",
			"controlplane/internal/manifest", "controlplane/internal/kube"},
		{"controlplane/internal/model", "controlplane/internal/topology", "controlplane/internal/compile",
			"controlplane/internal/round", "controlplane"},
		{"controlplane/internal/model", "controlplane/internal/snapshot", "controlplane/internal/discovery", "controlplane"},
		{"controlplane/internal/snapshot", "controlplane/internal/nodes", "controlplane/internal/introspection", "controlplane"},
		{"controlplane/internal/cluster", "controlplane/internal/nodes", "controlplane/internal/discovery", "controlplane/internal/events", "controlplane"},
		{"controlplane/internal/model", "controlplane/internal/kubeobjects", "controlplane/internal/traffic", "controlplane"},
		{"controlplane/internal/model", "controlplane/internal/brake", "controlplane/internal/round", "controlplane/internal/administration", "controlplane"},
		{"controlplane/internal/brake", "controlplane/internal/introspection", "controlplane"},
		{"api/check", "agent/internal/nodecheck", "agent"},
		{"agent/internal/dataplane/nftables", "agent/internal/nodecheck", "agent"},
		{"controlplane/internal/admission", "controlplane/internal/kube", "controlplane/internal/clustercheck", "controlplane"},
		{"controlplane/internal/limit", "controlplane/internal/discovery", "controlplane"},
		{"controlplane/internal/discovery", "controlplane/internal/tracing", "controlplane/internal/metrics", "controlplane"},
		{"controlplane/internal/round", "controlplane/internal/tracing", "controlplane"},
		{"controlplane/internal/settle", "controlplane/internal/configfile", "controlplane"},
		{"api/config/v1alpha1", "controlplane/internal/proxyconfig", "controlplane/internal/configuration", "controlplane"},
		{"controlplane/internal/near", "controlplane/internal/strictyaml", "controlplane/internal/proxyconfig"},
		{"api/resource", "api/subscribe", "agent/internal/state", "agent/internal/ruleset", "agent/internal/dataplane",
			"agent/internal/dataplane/nftables", "agent"},
		{"agent/internal/state", "agent/internal/ruleset", "agent/internal/dataplane", "agent/internal/reconcile", "agent/internal/metrics", "agent"},
	}
	packages := map[string]goPackage{}
	for _, p := range list(t, "./...") {
		packages[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	for _, line := range lines {
		for i, earlier := range line {
			p, ok := packages[earlier]
			if !ok {
				t.Errorf("no package %s", earlier)
			}
			for _, later := range line[i+1:] {
				if slices.Contains(p.Deps, module+later) {
					t.Errorf("%s imports %s, which comes later", earlier, later)
				}
			}
		}
	}
}

func TestImportsThatOnePackageHasAlone(t *testing.T) {
	only := map[string]string{
		"k8s.io/client-go":               "controlplane/internal/kube",
		"k8s.io/client-go/util/jsonpath": "cmd/portolan/internal/output", // Which needs nothing of the rest.
		"github.com/google/nftables":     "agent/internal/dataplane/nftables",
		"github.com/moby/ipvs":           "agent/internal/dataplane/ipvs",
		"go.opentelemetry.io":            "controlplane/internal/tracing",
	}
	for _, p := range list(t, "./...") {
		for _, imported := range p.Imports {
			longest := ""
			for prefix := range only {
				if strings.HasPrefix(imported, prefix) && len(prefix) > len(longest) {
					longest = prefix
				}
			}
			if longest != "" && p.ImportPath != module+only[longest] {
				t.Errorf("%s imports %s: only %s may", p.ImportPath, imported, only[longest])
			}
		}
	}
}

// TestTheReferenceModelSharesNoCode with what it is compared with: an error would
// have to be made twice.
func TestTheReferenceModelSharesNoCode(t *testing.T) {
	for _, p := range list(t, "./controlplane/reference") {
		for _, dependency := range p.Deps {
			if strings.HasPrefix(dependency, module) {
				t.Errorf("controlplane/reference depends on %s", dependency)
			}
		}
	}
}

func TestTheHalvesMeetInTheAPI(t *testing.T) {
	for _, p := range list(t, "./agent/...", "./controlplane/...", "./api/...") {
		path := strings.TrimPrefix(p.ImportPath, module)
		half, _, _ := strings.Cut(path, "/")
		for _, dependency := range p.Deps {
			for _, other := range []string{"agent", "controlplane", "cmd"} {
				if half != other && strings.HasPrefix(dependency+"/", module+other+"/") {
					t.Errorf("%s depends on %s", path, dependency)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.Doc == "" && !strings.Contains(p.ImportPath, "/api/portolan/") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestEveryDependencyHasItsReason(t *testing.T) {
	reasons, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || !strings.Contains(fields[0], ".") || strings.Contains(line, "// indirect") {
			continue
		}
		if !strings.Contains(string(reasons), "`"+fields[0]+"`") {
			t.Errorf("docs/dependencies.md gives no reason for %s", fields[0])
		}
	}
}
