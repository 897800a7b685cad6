package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Every transaction of anybody raises the generation of the namespace's nf_tables
// by one, so that a generation we did not make tells that somebody else did
// something, for the price of one small request. Nearly always that concerns
// other tables, hence a look at an inventory of ours: the handles of everything
// but elements, and how many elements each set has. An element that was exchanged
// for another is not noticed.

// inventory is what a look at a family's tables shows.
type inventory struct {
	// skeleton is a hash of all handles; what is deleted and made again gets a new
	// one.
	skeleton uint64
	// counts has the number of elements of each set; it is empty on kernels before
	// Linux 6.16, which do not tell.
	counts map[string]int
}

// NFTA_TABLE_HANDLE, NFTA_SET_HANDLE and NFTA_SET_COUNT of linux/netfilter/nf_tables.h.
const (
	nftaTableHandle = 4
	nftaSetHandle   = 16
	nftaSetCount    = 20
)

// generations follows the generation of the namespace's nf_tables, of which there is one
// for all families and everybody. It belongs to one goroutine.
type generations struct {
	// current is the generation after all that we know of; zero if that is not known.
	current uint32
	// others counts how often it was another than our own transactions explain.
	others uint64
}

// never is no value that others can have.
const never = ^uint64(0)

// committed notes a transaction of ours.
func (g *generations) committed() {
	if g.current != 0 {
		g.current++
	}
}

// saw notes what the generation is.
func (g *generations) saw(generation uint32) {
	if g.current != generation {
		g.current = generation
		g.others++
	}
}

// lookUp asks for the generation.
func (p *Plane) lookUp() error {
	gen, err := p.conn.GetGen()
	if err != nil {
		return errors.Join(fmt.Errorf("asking for the generation of nf_tables: %w", explain(err)), p.Close(), p.connect())
	}
	p.generations.saw(gen.ID)
	return nil
}

// Disturbed tells whether somebody else has changed our rules since Replace. After
// that only Replace helps.
func (p *Plane) Disturbed(context.Context) (bool, error) {
	if !p.known {
		return false, nil
	}
	if p.Supported() != (p.loaded != nil) {
		return true, nil // The family has come or gone.
	}
	if p.loaded == nil {
		return false, nil
	}
	if err := p.lookUp(); err != nil || p.looked == p.generations.others {
		return false, err
	}
	switch found, err := takeInventory(p.family); {
	case errors.Is(err, netlink.ErrDumpInterrupted):
		return false, nil // Somebody is at work; there is a next time.
	case err != nil:
		return false, err
	case p.loaded.skeleton == 0: // It could not be seen when we made it.
		p.loaded.remember(found)
	case found.skeleton != p.loaded.skeleton:
		p.known, p.distrusted = false, true
		p.logger.Warn("somebody else changed our nftables rules", "family", p.family, "what", "tables, chains, rules or sets")
		return true, nil
	default:
		if set, ok := p.loaded.miscounted(found.counts); ok {
			p.known = false
			p.logger.Warn("somebody else changed our nftables rules", "family", p.family,
				"what", "elements of "+set, "elements", found.counts[set], "expected", p.loaded.counts[set])
			return true, nil
		}
	}
	p.looked = p.generations.others
	return false, nil
}

// unfamiliar tells whether the skeleton is not the one that we left. A Replace that
// follows a failed change must not adopt it.
func (p *Plane) unfamiliar() bool {
	if p.loaded == nil {
		return false
	}
	found, err := takeInventory(p.family)
	return err == nil && p.loaded.skeleton != 0 && found.skeleton != p.loaded.skeleton
}

// miscounted returns a set with another number of elements than we gave it.
func (l *loaded) miscounted(counts map[string]int) (string, bool) {
	for _, spec := range l.family.sets {
		if _, retired := l.retired[spec.name]; retired {
			continue
		}
		if found, told := counts[spec.name]; told && !spec.dynamic && found != l.counts[spec.name] {
			return spec.name, true
		}
	}
	return "", false
}

// remember takes note of how the kernel looks after a commit of ours that made
// more than elements. Where it cannot be seen, because others are at work, the
// next look takes note.
func (p *Plane) remember() {
	p.loaded.skeleton = 0
	if found, err := takeInventory(p.family); err == nil {
		p.loaded.remember(found)
	} else {
		p.logger.Debug("cannot see our own rules", "family", p.family, "error", err)
	}
}

func (l *loaded) remember(found inventory) {
	l.skeleton = found.skeleton
	// The kernel counts ranges in its own way, and they change with Replace only.
	l.counts[serviceCIDRs] = found.counts[serviceCIDRs]
}

// takeInventory lists a family's tables.
func takeInventory(f *family) (inventory, error) {
	hash := fnv.New64a()
	found := inventory{counts: map[string]int{}}
	note := func(attributes map[uint16][]byte, kinds ...uint16) {
		for _, kind := range kinds {
			_, _ = hash.Write(attributes[kind])
			_, _ = hash.Write([]byte{byte(kind)})
		}
	}
	for _, table := range []string{tableName, anchorName} {
		for _, list := range []struct {
			message int
			ofTable uint16
			noted   []uint16
		}{
			{unix.NFT_MSG_GETTABLE, unix.NFTA_TABLE_NAME, []uint16{unix.NFTA_TABLE_FLAGS, nftaTableHandle}},
			{unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, []uint16{unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HANDLE, unix.NFTA_CHAIN_POLICY}},
			{unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, []uint16{unix.NFTA_RULE_CHAIN, unix.NFTA_RULE_HANDLE}},
			{unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, []uint16{unix.NFTA_SET_NAME, nftaSetHandle, unix.NFTA_SET_FLAGS}},
		} {
			entries, err := dump(f, list.message, list.ofTable, table)
			if err != nil {
				return found, fmt.Errorf("looking at table %s %s: %w", f, table, explain(err))
			}
			for _, entry := range entries {
				note(entry, list.noted...)
				if count := entry[nftaSetCount]; list.message == unix.NFT_MSG_GETSET && len(count) == 4 {
					found.counts[nl.BytesToString(entry[unix.NFTA_SET_NAME])] = int(binary.BigEndian.Uint32(count))
				}
			}
		}
	}
	found.skeleton = hash.Sum64()
	return found, nil
}

// dump lists objects of one table: the attributes of each. The library lists rules
// by chain and decodes their expressions, and does not know counts. More is what the
// request says besides.
func dump(f *family, message int, ofTable uint16, table string, more ...nl.NetlinkRequestData) ([]map[uint16][]byte, error) {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|message, unix.NLM_F_DUMP)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(f.number), Version: nl.NFNETLINK_V0})
	request.AddData(nl.NewRtAttr(int(ofTable), nl.ZeroTerminated(table)))
	for _, data := range more {
		request.AddData(data)
	}
	replies, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	var entries []map[uint16][]byte
	for _, reply := range replies {
		attributes, err := nl.ParseRouteAttr(reply[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, err
		}
		entry := make(map[uint16][]byte, len(attributes))
		for _, a := range attributes {
			entry[a.Attr.Type&nl.NLA_TYPE_MASK] = a.Value
		}
		// The kernel heeds the table for rules and sets only.
		if slices.Equal(entry[ofTable], nl.ZeroTerminated(table)) {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}
