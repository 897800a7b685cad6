package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// Plane is the nftables data plane of one address family, in the network namespace
// that the process is in. It belongs to one goroutine.
type Plane struct {
	logger hclog.Logger
	family *family
	conn   *nftables.Conn
	// loaded is what the kernel holds; nil while that is not known, or if the node
	// does not have the family.
	loaded *loaded
	// destroys is set if the kernel can delete elements that may be missing.
	destroys bool
	// known is false until a Replace has succeeded, and after an error: then the
	// kernel's content is not known well enough for Apply.
	known bool
	// undisturbed is the generation of nf_tables as of which the kernel holds what
	// we put there; each transaction of ours raises both by one, unless it is empty:
	// queued counts what is in it.
	undisturbed uint32
	queued      int
	// distrusted is set if somebody changed more than elements: then Replace makes
	// the tables anew.
	distrusted bool
}

var _ dataplane.Dataplane = (*Plane)(nil)

// Open connects to the kernel. It changes nothing.
func Open(logger hclog.Logger, of dataplane.Family) (*Plane, error) {
	p := &Plane{logger: logger, family: families[of], destroys: canDestroy()}
	if err := p.connect(); err != nil {
		return nil, err
	}
	if _, err := p.conn.ListTablesOfFamily(nftables.TableFamilyIPv4); err != nil {
		return nil, errors.Join(fmt.Errorf("listing nf_tables tables: %w", explainListing(err)), p.Close())
	}
	return p, nil
}

// Family returns the plane's address family.
func (p *Plane) Family() dataplane.Family { return p.family.name }

// Supported tells whether the node has the plane's family.
func (p *Plane) Supported() bool { return !p.family.is6 || hasIPv6() }

// explainListing explains an error of the simplest request there is: nfnetlink
// answers it with EINVAL if it has no nf_tables to pass it on to.
func explainListing(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %s", err, wantNFTables)
	}
	return explain(err)
}

const wantNFTables = "expected a kernel with nf_tables (CONFIG_NF_TABLES, modprobe nf_tables)"

func (p *Plane) connect() error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("opening a netlink socket to nf_tables: %w", explain(err))
	}
	p.conn = conn
	return nil
}

// transact commits what queue puts into the connection, in one transaction. After
// an error the connection is made anew: the library would send what is queued
// with the next transaction, and may not have read all of the kernel's answer.
func (p *Plane) transact(doing string, queue func() error) error {
	p.queued = 0
	err := queue()
	if err == nil {
		if err = p.conn.Flush(); err == nil {
			if p.queued > 0 {
				p.undisturbed++
			}
			return nil
		}
	}
	p.known = false
	_ = p.conn.CloseLasting()
	return errors.Join(fmt.Errorf("%s of %s: %w", doing, p.family.name, explain(err)), p.connect())
}

// explain says what an operator can do about an error of the kernel.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: expected CAP_NET_ADMIN in this network namespace (run as root, or grant the capability)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: %s", err, wantNFTables)
	default:
		return err
	}
}

// Close releases the netlink socket. The rules stay.
func (p *Plane) Close() error { return p.conn.CloseLasting() }

// Exists tells whether there is a table of ours.
func (p *Plane) Exists(context.Context) (bool, error) { return p.hasTable(tableName) }

func (p *Plane) hasTable(name string) (bool, error) {
	tables, err := p.conn.ListTablesOfFamily(p.family.number)
	if err != nil {
		return false, fmt.Errorf("listing %s tables: %w", p.family, explain(err))
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), nil
}

// Cleanup removes our tables, the anchor last.
func (p *Plane) Cleanup(context.Context) error {
	p.known, p.loaded = false, nil
	return p.transact("removing the nftables tables", func() error {
		for _, name := range []string{tableName, anchorName} {
			has, err := p.hasTable(name)
			if err != nil {
				return err
			}
			if has {
				p.conn.DelTable(&nftables.Table{Family: p.family.number, Name: name})
			}
		}
		return nil
	})
}
