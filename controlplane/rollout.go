package controlplane

import (
	"context"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/rollout"
)

// catchUp spaces the looks at how new the objects are.
const catchUp = 5 * time.Millisecond

// newRollout returns what tells how far nodes are.
func (c *controlPlane) newRollout(registry *nodes.Registry) (*rollout.Server, error) {
	config := rollout.Config{
		Objects: c.objects, Snapshots: c.snapshots, Nodes: registry, Done: func() uint64 { return c.driver.Done() },
		// An agent has no business with the names of others' nodes.
		Names: func(ctx context.Context) bool { return !nodeauth.IsAgent(ctx) },
	}
	if c.Manifests == "" {
		lister, err := kube.NewLister(c.Kubeconfig)
		if err != nil {
			return nil, err
		}
		config.Fresh = func(ctx context.Context, key model.Key) error { return c.fresh(ctx, lister, key) }
	}
	return rollout.New(config), nil
}

// fresh waits until a Service and its endpoints are as new as the API server's when it is
// called: who has just changed it waits for that, and not for what was before.
func (c *controlPlane) fresh(ctx context.Context, lister *kube.Lister, key model.Key) error {
	services, slices, err := lister.Newest(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	for {
		have := c.objects.Version()
		if have.Services >= services && have.EndpointSlices >= slices {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(catchUp):
		}
	}
}
