package agent

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/conntrack"
	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/agent/internal/nodeaddr"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Cleanup removes everything that an agent has put into the kernel of this
// network namespace.
func Cleanup(ctx context.Context, logger hclog.Logger) error {
	plane, err := nftables.Open(logger)
	if err != nil {
		return err
	}
	return errors.Join(plane.Cleanup(ctx), plane.Close())
}

// Apply puts resources into the kernel once, replacing what an agent had put
// there. It returns the resources that could not be used.
func Apply(ctx context.Context, node string, resources []*discoveryv1.Resource, logger hclog.Logger) ([]*discoveryv1.RejectedResource, error) {
	plane, err := nftables.Open(logger)
	if err != nil {
		return nil, err
	}
	rejected, err := reconcile.Once(ctx, reconcile.Config{
		Node: node, Dataplane: plane, Logger: logger, Addresses: nodeaddr.List, Now: time.Now,
		CleanConntrack: func(serving ruleset.Serving) {
			if _, err := conntrack.Remove(ctx, serving, func(dataplane.Family, uint, time.Duration) {}); err != nil {
				logger.Warn("cannot remove connections to UDP endpoints that have gone", "error", err)
			}
		},
	}, resources)
	return rejected, errors.Join(err, plane.Close())
}
