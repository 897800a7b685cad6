package simulate

import (
	"context"
	"errors"
	"reflect"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// Kernel is the nftables of the network namespace that the process is in. It
// belongs to one goroutine.
type Kernel struct {
	planes   []*nftables.Plane
	settings dataplane.Settings
	err      error
}

// OpenKernel connects to the kernel and changes nothing.
func OpenKernel(logger hclog.Logger) (*Kernel, error) {
	planes, err := nftables.Open(logger, dataplane.IPv4, dataplane.IPv6)
	return &Kernel{planes: planes}, err
}

// Program makes the kernel hold what the node holds, whatever it held before, and
// has it follow later changes. Err tells how that goes.
func (n *Node) Program(k *Kernel) {
	n.kernel = k
	k.err = nil
	k.replace(n.settings(), n.table)
}

// Err returns what failed since the last Program.
func (k *Kernel) Err() error { return k.err }

// Settle removes what is left for packets in flight.
func (k *Kernel) Settle() {
	for range 2 {
		k.each(func(p *nftables.Plane) error { _, err := p.Collect(context.Background()); return err })
	}
}

// Close removes everything from the kernel.
func (k *Kernel) Close() error {
	k.each(func(p *nftables.Plane) error { return errors.Join(p.Cleanup(context.Background()), p.Close()) })
	return k.err
}

func (k *Kernel) each(do func(*nftables.Plane) error) {
	for _, plane := range k.planes {
		k.err = errors.Join(k.err, do(plane))
	}
}

func (k *Kernel) replace(settings dataplane.Settings, table *ruleset.Table) {
	k.settings = settings
	k.each(func(p *nftables.Plane) error { return p.Replace(context.Background(), settings, table) })
}

// follow does what the agent does after a change.
func (k *Kernel) follow(settings dataplane.Settings, table *ruleset.Table, changes *ruleset.Changes) {
	if !reflect.DeepEqual(settings, k.settings) {
		k.replace(settings, table)
		return
	}
	k.each(func(p *nftables.Plane) error { return p.Apply(context.Background(), changes) })
}
