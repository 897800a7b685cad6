package nftables

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// probeTable is the name of the table in which probes make what they try.
const probeTable = "portolan-probe"

// Probe is something that the layout takes from the kernel. Whether the kernel has it shows
// only when it is made.
type Probe struct {
	// Name is unique among the probes, Title says what the kernel is expected to have, and
	// Needs what has it.
	Name, Title, Needs string
	// sets are names of the layout's, chains look into them.
	sets   []string
	chains func(f *family) []chainSpec
	// with is what more there is to be tried, once the table is there.
	with func(p *Plane, table *nftables.Table) error
}

// Try makes what the probe needs and removes it again, in each family that the node has. The
// network namespace, that of the calling thread, must be one to throw away.
func (p Probe) Try(ctx context.Context) error {
	planes, err := Open(hclog.NewNullLogger(), dataplane.IPv4, dataplane.IPv6)
	if err != nil {
		return err
	}
	var errs []error
	for _, plane := range planes {
		if plane.Supported() && ctx.Err() == nil {
			if err := p.try(plane); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", plane.family.name, err))
			}
		}
		errs = append(errs, plane.Close())
	}
	return errors.Join(append(errs, ctx.Err())...)
}

func (p Probe) try(plane *Plane) error {
	table := &nftables.Table{Family: plane.family.number, Name: probeTable}
	if err := plane.send(func(tx *transaction) error { return p.queue(tx.library(), plane.family, table) }); err != nil {
		return err
	}
	var err error
	if p.with != nil {
		err = p.with(plane, table)
	}
	return errors.Join(err, plane.send(func(tx *transaction) error { tx.library().DelTable(table); return nil }))
}

// queue queues the table with the sets and chains.
func (p Probe) queue(conn *nftables.Conn, f *family, table *nftables.Table) error {
	conn.AddTable(table)
	for _, name := range p.sets {
		if err := conn.AddSet(f.specs[name].set(table), nil); err != nil {
			return err
		}
	}
	if p.chains == nil {
		return nil
	}
	chains := p.chains(f)
	for _, spec := range chains {
		addChain(conn, table, spec)
	}
	for _, spec := range chains {
		addRules(conn, table, spec)
	}
	return nil
}

// send commits a transaction that depends on nothing which the plane knows.
func (p *Plane) send(queue func(*transaction) error) error {
	tx, err := p.encode(queue)
	if err == nil {
		err = p.socket.commit(0, tx.buffers)
	}
	if errors.Is(err, unix.EPERM) {
		return explain(err)
	}
	return err
}
