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
	// conn asks the kernel; transactions go by the socket, encoded with the recorder.
	conn     *nftables.Conn
	socket   *socket
	recorder *recorder
	// generations is shared by the planes of all families.
	generations *generations
	// looked is the generations' count of what others did, as of which the kernel holds
	// what we put there.
	looked uint64
	// loaded is what the kernel holds; nil while that is not known, or if the node
	// does not have the family.
	loaded *loaded
	// destroys is set if the kernel can delete elements that may be missing.
	destroys bool
	// known is false until a Replace has succeeded, and after an error: then the
	// kernel's content is not known well enough for Apply.
	known bool
	// begun is set once a Replace has succeeded in this process.
	begun bool
	// distrusted is set if somebody changed more than elements: then Replace makes
	// the tables anew.
	distrusted     bool
	approximations approximations
}

var _ dataplane.Dataplane = (*Plane)(nil)

// Open connects to the kernel, for each of the families. It changes nothing.
func Open(logger hclog.Logger, of ...dataplane.Family) ([]*Plane, error) {
	shared := &generations{}
	var planes []*Plane
	for _, family := range of {
		p := &Plane{logger: logger, family: families[family], destroys: canDestroy(), generations: shared, looked: never, approximations: approximations{}}
		planes = append(planes, p)
		if err := p.open(); err != nil {
			for _, opened := range planes {
				err = errors.Join(err, opened.Close())
			}
			return nil, err
		}
	}
	return planes, nil
}

func (p *Plane) open() (err error) {
	if p.recorder, err = newRecorder(); err != nil {
		return fmt.Errorf("preparing to encode nf_tables rules: %w", err)
	}
	if err := p.connect(); err != nil {
		return err
	}
	if _, err := p.conn.ListTablesOfFamily(nftables.TableFamilyIPv4); err != nil {
		return fmt.Errorf("listing nf_tables tables: %w", explainListing(err))
	}
	return nil
}

// Family returns the plane's address family.
func (p *Plane) Family() dataplane.Family { return p.family.name }

// Warnings implements dataplane.Dataplane.
func (p *Plane) Warnings() []dataplane.Warning { return p.approximations.list() }

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

func (p *Plane) connect() (err error) {
	if p.conn, err = nftables.New(nftables.AsLasting()); err == nil {
		p.socket, err = openSocket()
	}
	if err != nil {
		return fmt.Errorf("opening a netlink socket to nf_tables: %w", explain(err))
	}
	return nil
}

// encode returns a transaction with what queue puts into it.
func (p *Plane) encode(queue func(*transaction) error) (*transaction, error) {
	tx := &transaction{recorder: p.recorder}
	err := queue(tx)
	// The recorder must be empty for the next one, whatever has failed.
	if settled := tx.settle(); err == nil {
		err = settled
	}
	return tx, err
}

// transact commits what queue puts into a transaction. After an error the kernel holds
// what it held, and only Replace helps.
func (p *Plane) transact(doing string, queue func(*transaction) error) error {
	tx, err := p.encode(queue)
	if err == nil {
		if len(tx.buffers) > 0 {
			err = p.commit(tx)
		}
	}
	if err == nil {
		tx.committed()
		return nil
	}
	p.known = false
	var refused *batchError
	if !errors.As(err, &refused) {
		// What is left to be read would be taken for the answer to something else.
		err = errors.Join(err, p.Close(), p.connect())
	}
	return fmt.Errorf("%s of %s: %w", doing, p.family.name, explain(err))
}

// attempts is how often a change is tried that others' transactions get in the way of,
// before it is made whatever they do.
const attempts = 8

var errDisturbed = errors.New("somebody else changed our rules meanwhile")

// commit sends a transaction. A change is made only to what was there when it was
// computed: if somebody else was quicker, a look must show that it was elsewhere. A
// replacement is made whatever there is, unless it was made for what was seen.
func (p *Plane) commit(tx *transaction) error {
	for range attempts {
		expected := p.generations.current
		if !p.known {
			expected = tx.seen
		}
		err := p.socket.commit(expected, tx.buffers)
		if !errors.Is(err, unix.ERESTART) {
			if err == nil {
				p.generations.committed()
			}
			return err
		}
		if !p.known {
			return errDisturbed
		}
		switch disturbed, err := p.Disturbed(context.Background()); {
		case err != nil:
			return err
		case disturbed:
			return errDisturbed
		}
	}
	err := p.socket.commit(0, tx.buffers)
	p.generations.current = 0
	return err
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

// Close releases the netlink sockets. The rules stay.
func (p *Plane) Close() error {
	var errs []error
	if p.conn != nil {
		errs = append(errs, p.conn.CloseLasting())
	}
	if p.socket != nil {
		errs = append(errs, p.socket.close())
	}
	p.conn, p.socket = nil, nil
	return errors.Join(errs...)
}

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
	return p.transact("removing the nftables tables", func(tx *transaction) error {
		for _, name := range []string{tableName, traceTable, anchorName} {
			has, err := p.hasTable(name)
			if err != nil {
				return err
			}
			if has {
				tx.library().DelTable(&nftables.Table{Family: p.family.number, Name: name})
			}
		}
		return nil
	})
}
