// Package nodecheck looks at a node: what its kernel can do, how it is set up, who else
// programs it, and whether an agent on it can reach a control plane. It changes nothing;
// what must be tried is tried in a namespace to throw away.
package nodecheck

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/portolan-net/portolan/api/check"
)

// Config says what to expect of the node.
type Config struct {
	// Before is set before an installation.
	Before bool
	// Node is the Kubernetes Node's name.
	Node string
	// IPVS is set if the node is to be in mode ipvs.
	IPVS bool
	// Servers are the control plane's addresses for agents, host:port.
	Servers []string
	// CAFile and ServerName are what the agent knows control planes by, CertFile is its own
	// certificate, TokenFile its token; empty means none.
	CAFile, ServerName, CertFile, TokenFile string
	// Audience and ServiceAccount, "namespace/name", are what the token is to say.
	Audience, ServiceAccount string
	// CheckpointPath is the agent's.
	CheckpointPath string
	// HealthAddress is where the agent serves its health.
	HealthAddress string
	// Root has proc and sys.
	Root string
	Now  func() time.Time
	// Limit is how long each check may take.
	Limit time.Duration
	// Probe probes the kernel in a namespace to throw away, as Probe does.
	Probe func(context.Context) (Probed, error)
	// Configure asks a control plane for the node's configuration.
	Configure func(context.Context) error
}

// node is what is looked at.
type node struct {
	Config
	probed    func() (Probed, error)
	tables    func() (*tables, error)
	processes func() (processes, error)
	claims    func() (*claims, error)
}

// Checks returns all checks of a node, in the order of their documentation.
func Checks(ctx context.Context, config Config) []check.Check {
	n := &node{Config: config}
	n.probed = check.Once(ctx, config.Limit, func(ctx context.Context) (Probed, error) { return config.Probe(ctx) })
	n.tables = check.Once(ctx, config.Limit, func(context.Context) (*tables, error) { return survey() })
	n.processes = check.Once(ctx, config.Limit, func(context.Context) (processes, error) { return listProcesses(config.Root) })
	n.claims = check.Once(ctx, config.Limit, func(context.Context) (*claims, error) { return readClaims(config.TokenFile) })
	return slices.Concat(n.kernelChecks(), n.nodeChecks(), n.sysctlChecks(), n.proxyChecks(), n.agentChecks(), n.identityChecks(), n.reachChecks())
}

// looksAt makes a check of a function that asks the kernel, which answers at once.
func looksAt(when check.When, id, title string, look func() check.Finding) check.Check {
	return check.New(check.Node, when, id, title, func(context.Context) check.Finding { return look() })
}

// read returns what a file of the kernel's says.
func (n *node) read(path string) (string, error) {
	content, err := os.ReadFile(filepath.Join(n.Root, path))
	return strings.TrimSpace(string(content)), err
}

// hasIPv6 tells whether the node has IPv6.
func (n *node) hasIPv6() bool {
	if _, err := os.Stat(filepath.Join(n.Root, "proc/net/if_inet6")); err != nil {
		return false
	}
	disabled, err := n.read("proc/sys/net/ipv6/conf/all/disable_ipv6")
	return err != nil || disabled != "1"
}
