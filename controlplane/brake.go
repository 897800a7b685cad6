package controlplane

import (
	"bytes"
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/manifest"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// BrakeConfig says which deletion of Services is held back until it is confirmed. The
// zero value holds nothing back.
type BrakeConfig struct {
	// BrakeShare is the part of the Services, from 0 to 1, and BrakeMin the number of
	// them, that such a deletion exceeds. If one is zero there is no brake.
	BrakeShare float64
	BrakeMin   int
}

// DefaultBrake holds back what removes more than half of the Services and more than 20.
func DefaultBrake() BrakeConfig {
	limits := brake.DefaultLimits()
	return BrakeConfig{BrakeShare: limits.Share, BrakeMin: limits.Min}
}

func (c BrakeConfig) brakeLimits() (brake.Limits, error) {
	if c.BrakeShare < 0 || c.BrakeShare > 1 {
		return brake.Limits{}, fmt.Errorf("--brake-share %v: expected a part of the Services, from 0 (no brake) to 1", c.BrakeShare)
	}
	if c.BrakeMin < 0 {
		return brake.Limits{}, fmt.Errorf("--brake-min %d: expected a number of Services, or 0 for no brake", c.BrakeMin)
	}
	return brake.Limits{Share: c.BrakeShare, Min: c.BrakeMin}, nil
}

// lister returns what reads the source's Services anew, apart from what follows it.
func (c *controlPlane) lister() (func(context.Context) ([]model.Key, error), error) {
	read := c.readManifests
	if c.Manifests == "" {
		lister, err := kube.NewLister(c.Kubeconfig)
		if err != nil {
			return nil, err
		}
		read = lister.Services
	}
	return func(ctx context.Context) ([]model.Key, error) {
		apart := cluster.NewStore()
		if err := read(ctx, admission.NewWriter(apart, hclog.NewNullLogger(), c.admissionLimits())); err != nil {
			return nil, err
		}
		return apart.Services(), nil
	}, nil
}

func (c *controlPlane) readManifests(ctx context.Context, into *admission.Writer) error {
	source, err := manifest.New(manifest.Config{
		Path: c.Manifests, Writer: into, Logger: hclog.NewNullLogger(), Rand: bytes.NewReader(make([]byte, manifest.IDSize)),
	})
	if err != nil {
		return err
	}
	return source.Load(ctx)
}
