package controlplane

import (
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/events"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
)

// recordEvents makes what writes Events, if there is an API server that takes them.
func (c *controlPlane) recordEvents() error {
	if c.Manifests != "" {
		return nil
	}
	api, err := kube.NewEvents(c.Kubeconfig)
	if err != nil {
		return err
	}
	c.events = events.New(events.Config{API: api, Logger: c.Logger.Named("events"), Instance: c.Instance, Now: time.Now})
	c.objects.ObserveProblems(c.events.Problem)
	return nil
}

// discoveryEvents returns who hears what nodes say, or nil.
func (c *controlPlane) discoveryEvents() discovery.Events {
	if c.events == nil {
		return nil
	}
	return c.events
}

// eventStats returns what became of Events so far.
func (c *controlPlane) eventStats() events.Stats {
	if c.events == nil {
		return events.Stats{}
	}
	return c.events.Stats()
}
