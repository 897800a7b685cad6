package agent

import (
	"context"

	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/agent/internal/state"
)

type (
	// TraceFilter says which packets are traced.
	TraceFilter = nftables.TraceFilter
	// TraceStep is what a chain does with a packet.
	TraceStep = nftables.TraceStep
)

// The protocols of a TraceFilter.
const (
	TCP  = state.TCP
	UDP  = state.UDP
	SCTP = state.SCTP
)

// Trace has the kernel of this network namespace trace packets and hands over what becomes
// of them, step by step, until the context ends. It needs CAP_NET_ADMIN, and no agent.
func Trace(ctx context.Context, filter TraceFilter, step func(TraceStep)) error {
	return nftables.Trace(ctx, filter, step)
}
