package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	mnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/state"
)

const (
	traceTable = "portolan-trace"
	// traceGroup is NFNLGRP_NFTRACE of linux/netfilter/nfnetlink.h.
	traceGroup = 9
	// traceRate bounds how many packets are traced in a second.
	traceRate = 50
	// traceLook is how often to look whether to go on.
	traceLook = 100 * time.Millisecond
	// traceBuffer is for what comes while nobody reads.
	traceBuffer = 4 << 20
)

// tracePriority is after connection tracking, so that what is new is known, and before all
// chains of ours.
const tracePriority nftables.ChainPriority = -160

// TraceFilter says which packets are traced. From or To must be set.
type TraceFilter struct {
	// From is the source, if it is valid.
	From netip.Addr
	// To is the destination as it comes in, if it is valid; port 0 is any.
	To netip.AddrPort
	// Protocol is that of the transport; 0 is any.
	Protocol state.Protocol
	// Established has packets of connections traced that have been there before, too.
	Established bool
}

func (f TraceFilter) is6() bool {
	if f.To.IsValid() {
		return f.To.Addr().Is6()
	}
	return f.From.Is6()
}

// Trace has the kernel trace packets and hands over what becomes of them, step by step,
// until the context ends. For that there is a table of its own meanwhile.
func Trace(ctx context.Context, filter TraceFilter, step func(TraceStep)) (err error) {
	family := ipv4
	if filter.is6() {
		family = ipv6
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening a netlink socket to nf_tables: %w", explain(err))
	}
	listener, err := mnetlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("opening a netlink socket for traces: %w", err)
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	_ = listener.SetReadBuffer(traceBuffer) // What is lost with less is said.
	if err := listener.JoinGroup(traceGroup); err != nil {
		return fmt.Errorf("listening to traces (nfnetlink group %d): %w", traceGroup, err)
	}
	table := &nftables.Table{Name: traceTable, Family: family.number}
	remove := func() error {
		conn.AddTable(table) // So that there is one to delete.
		conn.DelTable(table)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("removing table %s: %w", traceTable, explain(err))
		}
		return nil
	}
	if err := remove(); err != nil { // That of somebody who was killed.
		return err
	}
	family.addTrace(conn, table, filter)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("making table %s: %w", traceTable, explain(err))
	}
	defer func() { err = errors.Join(err, remove()) }()
	return follow(ctx, listener, step)
}

// addTrace queues the table that marks packets to be traced.
func (f *family) addTrace(conn *nftables.Conn, table *nftables.Table, filter TraceFilter) {
	conn.AddTable(table)
	for name, hook := range map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput} {
		chain := conn.AddChain(&nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRef(tracePriority),
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: f.traceRule(filter)})
	}
}

func (f *family) traceRule(filter TraceFilter) []expr.Any {
	var list []expr.Any
	equal := func(load expr.Any, data []byte) {
		list = append(list, load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
	}
	if !filter.Established {
		list = append(list, isNew()...)
	}
	if filter.From.IsValid() {
		equal(f.saddr(1), filter.From.AsSlice())
	}
	if filter.To.IsValid() {
		equal(f.daddr(1), filter.To.Addr().AsSlice())
	}
	if filter.Protocol != 0 {
		equal(l4proto(1), []byte{byte(filter.Protocol)})
	}
	if port := filter.To.Port(); port != 0 {
		equal(dport(1), []byte{byte(port >> 8), byte(port)})
	}
	return append(list,
		&expr.Limit{Type: expr.LimitTypePkts, Rate: traceRate, Unit: expr.LimitTimeSecond, Burst: traceRate},
		&expr.Immediate{Register: 1, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1})
}

// follow hands traces over as they come.
func follow(ctx context.Context, listener *mnetlink.Conn, step func(TraceStep)) error {
	for ctx.Err() == nil {
		if err := listener.SetReadDeadline(time.Now().Add(traceLook)); err != nil {
			return fmt.Errorf("waiting for traces: %w", err)
		}
		messages, err := listener.Receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, unix.ENOBUFS):
			step(TraceStep{Lost: true})
			continue
		case err != nil:
			return fmt.Errorf("reading traces: %w", err)
		}
		for _, m := range messages {
			if s, ok := parseTrace(uint16(m.Header.Type), m.Data); ok && s.Table != traceTable {
				step(s)
			}
		}
	}
	return nil
}
