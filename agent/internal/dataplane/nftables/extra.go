package nftables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// Chains beyond the skeleton are made when an element first goes to them. Their names say
// what their rules are, so that an agent knows those that it finds.
//
//	pick-N               draw one of N slots at random
//	turn-FRONTEND-N      draw them in turn: it counts, so it is one frontend's own
//	by-address-N         draw what a hash of the client's address says
//	by-address-port-N    of its address and port
//	affinity-Ts          remember a client for T seconds
//
// Those that begin with local- look into the maps of what is on this node.
const (
	localPrefix         = "local-"
	pickPrefix          = "pick-"
	turnPrefix          = "turn-"
	byAddressPrefix     = "by-address-"
	byAddressPortPrefix = "by-address-port-"
	affinityPrefix      = "affinity-"
)

// hashSeed is the same on all nodes, so that they draw the same.
const hashSeed = 0x706f7274

// drawChain is the name of the chain that draws a slot for a frontend.
func drawChain(k ruleset.Key, c ruleset.Choice) string {
	n := strconv.Itoa(c.Slots.Len())
	switch {
	case c.Draw == ruleset.ByAddress:
		return byAddressPrefix + n
	case c.Draw == ruleset.ByAddressAndPort:
		return byAddressPortPrefix + n
	case c.Draw == ruleset.InTurn && c.Slots.Len() > 1:
		// nft prints no colon in a name that it can read back.
		address := strings.ReplaceAll(k.Addr.StringExpanded(), ":", "-")
		return fmt.Sprintf("%s%s-%s-%d-%s", turnPrefix, address, strings.ToLower(k.Protocol.String()), k.Port, n)
	default:
		return pickPrefix + n
	}
}

// isOwn tells whether a chain is one frontend's own.
func isOwn(name string) bool {
	return strings.HasPrefix(strings.TrimPrefix(name, localPrefix), turnPrefix)
}

func affinityChain(timeout time.Duration) string {
	return fmt.Sprintf("%s%ds", affinityPrefix, int(timeout/time.Second))
}

// drawn returns how many slots the chain of a name draws from; zero if it draws none.
func drawn(name string) int {
	n, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}

// extra returns the rules of a chain beyond the skeleton. It returns false if we make none
// of the name.
func (f *family) extra(name string) ([][]expr.Any, bool) {
	slots, memory, valid := endpoints, affinity, affinityEndpoints
	rest, isLocal := strings.CutPrefix(name, localPrefix)
	if isLocal {
		slots, memory, valid = localEndpoints, localAffinity, localAffinityEndpoints
	}
	if text, ok := strings.CutPrefix(rest, affinityPrefix); ok {
		timeout, err := time.ParseDuration(text)
		return f.affinityRules(timeout, memory, valid), err == nil
	}
	n, client := uint32(drawn(rest)), f.afterFrontend()
	for _, kind := range []struct {
		prefix string
		draw   []expr.Any
	}{
		{pickPrefix, one(&expr.Numgen{Register: client, Modulus: n, Type: unix.NFT_NG_RANDOM})},
		{turnPrefix, one(&expr.Numgen{Register: client, Modulus: n, Type: unix.NFT_NG_INCREMENTAL})},
		{byAddressPortPrefix, []expr.Any{f.saddr(client), sport(client + f.addrRegisters()), jhash(client, f.addrLen+4, n)}},
		{byAddressPrefix, []expr.Any{f.saddr(client), jhash(client, f.addrLen, n)}},
	} {
		if strings.HasPrefix(rest, kind.prefix) {
			return [][]expr.Any{rule(f.frontend(), kind.draw, f.dnatTo(slots))}, n > 0
		}
	}
	return nil, false
}

// jhash puts a hash of what begins in a register in its place.
func jhash(register, length, modulus uint32) expr.Any {
	return &expr.Hash{SourceRegister: register, DestRegister: register, Length: length, Modulus: modulus, Seed: hashSeed, Type: expr.HashTypeJenkins}
}

// extras are the chains beyond the skeleton that there are.
type extras struct {
	family *family
	there  map[string]struct{}
	// unused are those that no element goes to any more; true once a Collect has seen it.
	unused map[string]bool
	// changed is set when some were added or deleted, until that is remembered.
	changed bool
}

// missing returns those of the names that there are none of, in order.
func (e *extras) missing(names map[string]struct{}) []string {
	var list []string
	for name := range names {
		if _, ok := e.there[name]; !ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// queue puts new chains into a transaction.
func (e *extras) queue(tx *transaction, names []string) error {
	for _, name := range names {
		rules, ok := e.family.extra(name)
		if !ok {
			return fmt.Errorf("chain %q: expected a name that has rules", name)
		}
		spec := chainSpec{name: name, rules: rules}
		addChain(tx.library(), e.family.table(), spec)
		addRules(tx.library(), e.family.table(), spec)
		e.there[name], e.changed = struct{}{}, true
	}
	return nil
}

// follow notes which chains elements went to, and go to now.
func (e *extras) follow(left, used map[string]struct{}) {
	for name := range left {
		if isOwn(name) {
			e.unused[name] = false
		}
	}
	for name := range used {
		delete(e.unused, name)
	}
}
