package controlplane

import (
	"context"
	"time"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/clustercheck"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
)

// CheckConfig says which cluster to look at, and what to expect.
type CheckConfig struct {
	// Kubeconfig is the path of a kubeconfig file. Empty means the one that kubectl would
	// use, or the cluster that the process runs in.
	Kubeconfig string
	// Namespace is that of the installation.
	Namespace string
	// Before is set before an installation.
	Before bool
	// Limit is how long each check may take.
	Limit time.Duration
}

// HasCluster tells whether there is a kubeconfig that names a cluster. It asks nobody.
func HasCluster(kubeconfig string) bool {
	_, err := kube.NewInspector(kubeconfig)
	return err == nil
}

// Checks returns all checks of a cluster; which of them to run is the caller's to say.
func Checks(ctx context.Context, config CheckConfig) []check.Check {
	return clustercheck.Checks(ctx, clustercheck.Config{
		Before: config.Before, Namespace: config.Namespace, Audience: DefaultAgentAudience,
		Open: func() (*kube.Inspector, error) { return kube.NewInspector(config.Kubeconfig) },
		Now:  time.Now, Limit: config.Limit,
	})
}
