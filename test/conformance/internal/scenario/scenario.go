// Package scenario reads the scenarios of the conformance suite: cluster states, and
// what must become of packets in each of them.
//
// A scenario is a txtar file. Its comment says what it is about. Its files are
//
//	*.yaml            Kubernetes objects, as kubectl would take them
//	cluster.yaml      Nodes and ServiceCIDRs, if not those of scenarios/cluster.yaml
//	proxy.yaml        a KubeProxyConfiguration, if not that of scenarios/proxy.yaml
//	node-addresses    more addresses of the node under test, one a line
//	probes            what must become of packets: see Probe
//	asks              what HTTP servers of the node must answer: see Ask
//
// and the same below "step 2/", "step 3/" and so on, where a file replaces the one of
// that name of the step before; empty ones delete it. Every step has its own probes and asks.
package scenario

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/portolan-net/portolan/controlplane/reference"
)

// Scenario is a story of cluster states.
type Scenario struct {
	Name, About string
	Steps       []Step
}

// Step is one state.
type Step struct {
	Number int
	// Manifests has the objects by file name.
	Manifests map[string][]byte
	Proxy     []byte
	Addresses []netip.Addr
	Probes    []Probe
	Asks      []Ask

	// Cluster and Config are the same for the reference model.
	Cluster reference.Cluster
	Config  reference.Config
}

// The files with a meaning of their own.
const (
	clusterFile   = "cluster.yaml"
	proxyFile     = "proxy.yaml"
	addressesFile = "node-addresses"
	probesFile    = "probes"
	asksFile      = "asks"
)

// Load reads all scenarios of a directory.
func Load(directory string) ([]*Scenario, error) {
	defaults := map[string][]byte{}
	for _, name := range []string{clusterFile, proxyFile} {
		data, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			return nil, err
		}
		defaults[name] = data
	}
	names, err := filepath.Glob(filepath.Join(directory, "*.txtar"))
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			return nil, err
		}
		s, err := parse(archive, defaults)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.Name = strings.TrimSuffix(filepath.Base(name), ".txtar")
		all = append(all, s)
	}
	return all, nil
}

func parse(archive *txtar.Archive, defaults map[string][]byte) (*Scenario, error) {
	s := &Scenario{About: strings.TrimSpace(string(archive.Comment))}
	if s.About == "" {
		return nil, fmt.Errorf("it does not say what it is about")
	}
	files := map[string][]byte{}
	for name, data := range defaults {
		files[name] = data
	}
	step := 1
	for _, file := range archive.Files {
		number, name, err := splitName(file.Name)
		if err != nil {
			return nil, err
		}
		if number == step+1 {
			if err := s.add(step, files); err != nil {
				return nil, err
			}
			delete(files, probesFile)
			delete(files, asksFile)
			step = number
		}
		if number != step {
			return nil, fmt.Errorf("file %q comes after step %d", file.Name, step)
		}
		files[name] = file.Data
	}
	return s, s.add(step, files)
}

func splitName(name string) (step int, rest string, err error) {
	prefix, rest, found := strings.Cut(name, "/")
	if !found {
		return 1, name, nil
	}
	if step, err = strconv.Atoi(strings.TrimPrefix(prefix, "step ")); err != nil {
		return 0, "", fmt.Errorf("file %q: expected a name, or step N/name", name)
	}
	return step, rest, nil
}

func (s *Scenario) add(number int, files map[string][]byte) error {
	step := Step{Number: number, Manifests: map[string][]byte{}}
	for name, data := range files {
		var err error
		switch {
		case name == proxyFile:
			step.Proxy = data
			step.Config, err = parseConfig(data)
		case name == probesFile:
			step.Probes, err = parseProbes(string(data))
		case name == asksFile:
			step.Asks, err = parseAsks(string(data))
		case name == addressesFile:
			step.Addresses, err = parseAddresses(string(data))
		case !strings.HasSuffix(name, ".yaml"):
			err = fmt.Errorf("expected *.yaml, %s, %s or %s", probesFile, asksFile, addressesFile)
		case len(data) > 0:
			step.Manifests[name] = data
			err = addObjects(data, &step.Cluster)
		}
		if err != nil {
			return fmt.Errorf("step %d: %s: %w", number, name, err)
		}
	}
	if len(step.Probes) == 0 && len(step.Asks) == 0 {
		return fmt.Errorf("step %d has no probes and asks", number)
	}
	s.Steps = append(s.Steps, step)
	return nil
}

func parseAddresses(text string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, field := range strings.Fields(text) {
		address, err := netip.ParseAddr(field)
		if err != nil {
			return nil, err
		}
		all = append(all, address)
	}
	return all, nil
}
