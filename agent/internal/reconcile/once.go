package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// Once makes the kernel hold exactly what the resources say, without a
// subscription. It returns the resources that could not be used.
func Once(ctx context.Context, config Config, resources []*discoveryv1.Resource) ([]*discoveryv1.RejectedResource, error) {
	config.Observer = nobody{}
	loop := New(config, nil, state.Checkpoint{})
	loop.refreshAddresses()
	_, rejected := loop.state.Apply(slices.Values(resources), nil)
	loop.noteConfig()
	if loop.config == nil {
		return rejected, fmt.Errorf("node %q has no configuration: expected a Node of that name", config.Node)
	}
	return rejected, loop.sync(ctx)
}

// nobody observes nothing.
type nobody struct{}

func (nobody) Queued(*subscribe.Transaction)            {}
func (nobody) Resource(*discoveryv1.Resource)           {}
func (nobody) Applied(Attempt)                          {}
func (nobody) Collected(dataplane.Family, error)        {}
func (nobody) Rejected([]*discoveryv1.RejectedResource) {}
func (nobody) Configured(*state.NodeConfig)             {}
func (nobody) Checkpointed(int, error)                  {}
