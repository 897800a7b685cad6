package controlplane

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/manifest"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
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
	objects, snapshots := cluster.NewStore(), snapshot.NewStore(time.Now)
	// Problems are returned, so they are not logged.
	writer := admission.NewWriter(objects, hclog.NewNullLogger(), admission.DefaultLimits())
	source, err := manifest.New(manifest.Config{
		Path: config.Manifests, Writer: writer, Logger: config.Logger, Rand: config.Rand,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := source.Load(ctx); err != nil {
		return nil, nil, err
	}
	for _, problem := range objects.Problems() {
		problems = append(problems, problem.String())
	}
	if objects.Node(config.Node) == nil {
		return nil, problems, unknownNode(config, objects)
	}
	driver := round.New(round.Config{Cluster: objects, Snapshots: snapshots, Settings: settings, Logger: config.Logger})
	driver.Round()
	view := snapshots.Current().View(config.Node)
	for entry := range view.All(func(discoveryv1.Kind) bool { return true }) {
		r, err := entry.Decode()
		if err != nil {
			return nil, problems, err
		}
		resources = append(resources, r)
	}
	return resources, problems, nil
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
