package reconcile

import (
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// Observer is told what the loop does, for metrics and health.
type Observer interface {
	// Queued is called with a transaction that is to be applied.
	Queued(*subscribe.Transaction)
	// Resource is called with each of its resources after that, whether it can be used
	// or not.
	Resource(*discoveryv1.Resource)
	// Applied is called after each attempt to bring the kernel's rules of one family
	// up to date; with no changes it is none but in name.
	Applied(Attempt)
	// Collected is called for each family after an attempt to remove what changes
	// had left in the kernel.
	Collected(dataplane.Family, error)
	// Rejected is called before the kernel is changed, with all resources that are
	// rejected now.
	Rejected([]*discoveryv1.RejectedResource)
	// Configured is called with the node's configuration when it is in force; with
	// nil if the Node is gone.
	Configured(*state.NodeConfig)
	// Checkpointed is called after each attempt to write a checkpoint.
	Checkpointed(bytes int, err error)
}

// Attempt describes one attempt to change the kernel's rules of one family.
type Attempt struct {
	Family dataplane.Family
	// Missing is set if the node does not have the family, so that there is nothing to
	// bring up to date.
	Missing bool
	// Whole is set if everything was replaced.
	Whole bool
	// Repair is set if that was because somebody else had changed the rules.
	Repair bool
	// Frontends is how many changed; with Whole, how many there are.
	Frontends int
	// NoLocal is how many ports have endpoints, but none where their policy wants
	// one.
	NoLocal  ruleset.NoLocal
	Duration time.Duration
	Err      error
}
