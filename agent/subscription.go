package agent

import (
	"errors"
	"io/fs"

	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// restore reads the checkpoint. One that cannot be used is as good as none.
func restore(config Config) (*state.State, state.Checkpoint) {
	if config.CheckpointPath == "" {
		return nil, state.Checkpoint{}
	}
	restored, header, err := state.ReadFile(config.CheckpointPath, config.Node)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, state.Checkpoint{}
	case err != nil:
		config.Logger.Warn("not using the checkpoint", "error", err)
		return nil, state.Checkpoint{}
	}
	return restored, header
}

func subscription(config Config, loop *reconcile.Loop, restored *state.State, header state.Checkpoint) subscribe.Config {
	subscription := subscribe.Config{
		Addresses: config.Servers, DialOptions: config.DialOptions,
		Node:    &discoveryv1.Node{Id: config.Node, AgentVersion: config.Version, Instance: config.Instance},
		Handler: loop, Compare: loop.Compare, Logger: config.Logger.Named("subscribe"),
	}
	// What was written under another schema is no base for deltas: fields that
	// this agent knows and that one did not would be missing for ever.
	if restored != nil && header.Schema == state.Schema() {
		subscription.Held, subscription.HeldSource = restored.Held(), header.Source.Proto()
	}
	return subscription
}
