package agent

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/conntrack"
	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Cleanup removes everything that an agent has put into the kernel of this
// network namespace.
func Cleanup(ctx context.Context, logger hclog.Logger) error {
	planes, err := openPlanes(logger)
	if err != nil {
		return err
	}
	var errs []error
	for _, plane := range planes {
		errs = append(errs, plane.Cleanup(ctx))
	}
	return errors.Join(append(errs, closePlanes(planes))...)
}

// Apply puts resources into the kernel once, replacing what an agent had put
// there. It returns the resources that could not be used.
func Apply(ctx context.Context, node string, resources []*discoveryv1.Resource, logger hclog.Logger) ([]*discoveryv1.RejectedResource, error) {
	planes, err := openPlanes(logger)
	if err != nil {
		return nil, err
	}
	rejected, err := reconcile.Once(ctx, reconcile.Config{
		Node: node, Dataplanes: planes, Logger: logger, Addresses: addresses, Now: time.Now,
		CleanConntrack: func(serving ruleset.Serving) {
			if _, err := conntrack.Remove(ctx, serving, func(dataplane.Family, uint, time.Duration) {}); err != nil {
				logger.Warn("cannot remove connections to UDP endpoints that have gone", "error", err)
			}
		},
	}, resources)
	return rejected, errors.Join(err, closePlanes(planes))
}
