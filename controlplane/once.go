package controlplane

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/manifest"
)

// OnceConfig says what to compile without serving it.
type OnceConfig struct {
	// Manifests is a file or directory of Kubernetes objects.
	Manifests string
	// Node is the node whose view is wanted; it must be among the manifests.
	Node string
	ProxyConfig
	Logger hclog.Logger
	Rand   Reader
}

// Once reads manifests and returns what a node should hold, and what could not be
// used, a line each.
func Once(ctx context.Context, config OnceConfig) (resources []*discoveryv1.Resource, problems []string, err error) {
	settings, warnings, err := config.settings()
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range warnings {
		config.Logger.Warn(warning)
	}
	// Problems are returned, so they are not logged.
	offline := newOffline(settings, config.Logger)
	source, err := manifest.New(manifest.Config{
		Path: config.Manifests, Writer: offline.writer, Logger: config.Logger, Rand: config.Rand,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := source.Load(ctx); err != nil {
		return nil, nil, err
	}
	offline.driver.Round()
	problems = offline.Problems()
	if offline.objects.Node(config.Node) == nil {
		return nil, problems, unknownNode(config, offline.objects)
	}
	_, resources, err = offline.Follow(config.Node)
	return resources, problems, err
}

func unknownNode(config OnceConfig, objects *cluster.Store) error {
	var names []string
	for _, node := range objects.Nodes() {
		names = append(names, node.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("no Node in %s: expected one named %q", config.Manifests, config.Node)
	}
	return fmt.Errorf("no Node named %q in %s: expected one of %s", config.Node, config.Manifests, strings.Join(names, ", "))
}
