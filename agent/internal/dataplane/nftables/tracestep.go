package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// TraceStep is what a chain does with a packet.
type TraceStep struct {
	// Packet tells packets apart.
	Packet uint32
	// Table and Chain are where it is.
	Table, Chain string
	// Verdict is what is done there: "accept", "drop", "jump services", "goto pick-2",
	// "return", "continue".
	Verdict string
	// Meaning says what our chains are for; empty for others'.
	Meaning string
	// Source, Destination and Protocol are the packet's as it meets the chain. They are
	// told once for each hook.
	Source, Destination netip.AddrPort
	Protocol            state.Protocol
	// In and Out are indexes of interfaces; 0 is none.
	In, Out uint32
	// Lost is set if steps came faster than they were read; then nothing else is.
	Lost bool
}

// nftMsgTrace and the attributes of a trace, of linux/netfilter/nf_tables.h.
const (
	nftMsgTrace              = 17
	nftaTraceTable           = 1
	nftaTraceChain           = 2
	nftaTraceType            = 4
	nftaTraceVerdict         = 5
	nftaTraceID              = 6
	nftaTraceNetworkHeader   = 8
	nftaTraceTransportHeader = 9
	nftaTraceIIF             = 10
	nftaTraceOIF             = 12
	nftaTracePolicy          = 16
	traceOfPolicy            = 1
)

// parseTrace reads a message. It returns false for one of another kind.
func parseTrace(kind uint16, data []byte) (TraceStep, bool) {
	if kind != unix.NFNL_SUBSYS_NFTABLES<<8|nftMsgTrace || len(data) < nfgenmsgLen {
		return TraceStep{}, false
	}
	var s TraceStep
	var network, transport, outcome []byte
	isPolicy := false
	for attribute, value := range netlinkwire.Attributes(data[nfgenmsgLen:]) {
		switch attribute {
		case nftaTraceTable:
			s.Table = text(value)
		case nftaTraceChain:
			s.Chain = text(value)
		case nftaTraceType:
			isPolicy = number(value) == traceOfPolicy
		case nftaTraceID:
			s.Packet = number(value)
		case nftaTraceVerdict:
			outcome = value
		case nftaTracePolicy:
			s.Verdict = verdictName(number(value), "")
		case nftaTraceNetworkHeader:
			network = value
		case nftaTraceTransportHeader:
			transport = value
		case nftaTraceIIF:
			s.In = number(value)
		case nftaTraceOIF:
			s.Out = number(value)
		}
	}
	if outcome != nil {
		s.Verdict = verdictName(number(attribute(outcome, unix.NFTA_VERDICT_CODE)), text(attribute(outcome, unix.NFTA_VERDICT_CHAIN)))
	}
	if isPolicy {
		s.Verdict += " (policy)"
	}
	s.headers(network, transport)
	if s.Table == tableName {
		s.Meaning = meaning(s.Chain)
	}
	return s, true
}

func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}

// verdictName is what nft calls a verdict (linux/netfilter.h, linux/netfilter/nf_tables.h).
func verdictName(code uint32, chain string) string {
	switch int32(code) {
	case 0:
		return "drop"
	case 1:
		return "accept"
	case -1:
		return "continue"
	case -3:
		return "jump " + chain
	case -4:
		return "goto " + chain
	case -5:
		return "return"
	default:
		return fmt.Sprintf("verdict %d", int32(code))
	}
}

// headers reads addresses and ports. IPv6 with extension headers has no ports here.
func (s *TraceStep) headers(network, transport []byte) {
	const ipv4Len, ipv6Len = 20, 40
	if len(network) == 0 {
		return
	}
	var source, destination netip.Addr
	switch version := network[0] >> 4; {
	case version == 4 && len(network) >= ipv4Len:
		source, _ = netip.AddrFromSlice(network[12:16])
		destination, _ = netip.AddrFromSlice(network[16:20])
		s.Protocol = state.Protocol(network[9])
	case version == 6 && len(network) >= ipv6Len:
		source, _ = netip.AddrFromSlice(network[8:24])
		destination, _ = netip.AddrFromSlice(network[24:40])
		s.Protocol = state.Protocol(network[6])
	default:
		return
	}
	var from, to uint16
	if len(transport) >= 4 {
		from, to = binary.BigEndian.Uint16(transport), binary.BigEndian.Uint16(transport[2:])
	}
	s.Source, s.Destination = netip.AddrPortFrom(source, from), netip.AddrPortFrom(destination, to)
}

// meanings are what the chains of the skeleton are for.
var meanings = map[string]string{
	servicesChain:         "which Service is it for?",
	localTrafficChain:     "external policy Local: endpoints of this node, for who comes from outside",
	firewallChain:         "source ranges: may this client connect?",
	guardChain:            "what no Service serves: refused or dropped",
	rejectChain:           "refused: no endpoint",
	localStickChain:       "remember clients that came by external policy Local",
	outsideChain:          "beside IPVS: other ports of addresses of Services",
	markChain:             "what will be masqueraded",
	"mark-prerouting":     "what comes in: will it be masqueraded?",
	"mark-output":         "what this node sends: will it be masqueraded?",
	earlyGuardChain:       "what this node sends, before IPVS",
	"firewall-prerouting": "source ranges, what comes in",
	"firewall-output":     "source ranges, what this node sends",
	"nat-prerouting":      "choose an endpoint, for what comes in",
	"nat-output":          "choose an endpoint, for what this node sends",
	"filter-input":        "what is for this node itself",
	"filter-forward":      "what this node passes on",
	"filter-output":       "what this node sends",
	"nat-postrouting":     "masquerade?",
}

// meaning says what a chain of ours is for.
func meaning(chain string) string {
	if known := meanings[chain]; known != "" {
		return known
	}
	rest, isLocal := strings.CutPrefix(chain, localPrefix)
	where := ""
	if isLocal {
		where = " of this node"
	}
	n := drawn(rest)
	switch {
	case strings.HasPrefix(rest, affinityPrefix):
		return "remember the client and its endpoint" + where
	case strings.HasPrefix(rest, pickPrefix):
		return fmt.Sprintf("one of %d endpoints%s, at random", n, where)
	case strings.HasPrefix(rest, turnPrefix):
		return fmt.Sprintf("one of %d slots of endpoints%s, in turn", n, where)
	case strings.HasPrefix(rest, byAddressPortPrefix):
		return fmt.Sprintf("one of %d slots of endpoints%s, by the client's address and port", n, where)
	case strings.HasPrefix(rest, byAddressPrefix):
		return fmt.Sprintf("one of %d slots of endpoints%s, by the client's address", n, where)
	default:
		return ""
	}
}
