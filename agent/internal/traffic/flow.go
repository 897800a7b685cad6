package traffic

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// flowID tells entries apart. The kernel's number alone is a hash of 32 bits.
type flowID struct {
	number     uint32
	sourcePort uint16
}

// flow is an entry of the connection table.
type flow struct {
	id flowID
	// to is what the client connected to.
	to ruleset.Key
	// translated is set if something else answers.
	translated bool
	// open is not set of TCP connections that both sides have ended.
	open bool
	// sent and received are bytes by and for the client, headers included; zero if the
	// kernel does not count them.
	sent, received uint64
}

// Attributes of an entry: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig, ctaTupleReply       = 1, 2
	ctaProtoInfo                      = 4
	ctaCountersOrig, ctaCountersReply = 9, 10
	ctaID                             = 12

	ctaTupleIP, ctaTupleProto                          = 1, 2
	ctaIPv4Source, ctaIPv4Destination                  = 1, 2
	ctaIPv6Source, ctaIPv6Destination                  = 3, 4
	ctaProtoNumber, ctaSourcePort, ctaDestinationPort  = 1, 2, 3
	ctaProtoInfoTCP, ctaProtoInfoTCPState, ctaCountedB = 1, 1, 2
)

// tcpTimeWait is the first state, TCP_CONNTRACK_TIME_WAIT, in which both sides have ended:
// include/uapi/linux/netfilter/nf_conntrack_tcp.h.
const tcpTimeWait = 7

// familyHeader is the length of struct nfgenmsg.
const familyHeader = 4

// end is one side of an entry as its first packet would have it.
type end struct {
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	protocol                    uint8
}

// flowsOf yields what the messages of a type that are in a buffer say of entries.
func flowsOf(buffer []byte, wanted uint16) iter.Seq[flow] {
	return func(yield func(flow) bool) {
		for message := range netlinkwire.Messages(buffer) {
			if netlinkwire.Type(message) != wanted {
				continue
			}
			if f, ok := parseFlow(message[unix.SizeofNlMsghdr:]); ok && !yield(f) {
				return
			}
		}
	}
}

// parseFlow reads the payload of a message about an entry. It is false if that is none of a
// transport protocol with ports.
func parseFlow(payload []byte) (flow, bool) {
	if len(payload) < familyHeader {
		return flow{}, false
	}
	f := flow{open: true}
	var original, reply end
	for kind, value := range netlinkwire.Attributes(payload[familyHeader:]) {
		switch kind {
		case ctaTupleOrig:
			original = parseEnd(value)
		case ctaTupleReply:
			reply = parseEnd(value)
		case ctaProtoInfo:
			f.open = isOpen(value)
		case ctaCountersOrig:
			f.sent = parseBytes(value)
		case ctaCountersReply:
			f.received = parseBytes(value)
		case ctaID:
			if len(value) == 4 {
				f.id.number = binary.BigEndian.Uint32(value)
			}
		}
	}
	f.id.sourcePort = original.sourcePort
	f.to = ruleset.Key{Addr: original.destination, Protocol: state.Protocol(original.protocol), Port: original.destinationPort}
	f.translated = reply.source != original.destination || reply.sourcePort != original.destinationPort
	return f, original.destination.IsValid() && reply.source.IsValid() && original.destinationPort != 0
}

func parseEnd(b []byte) end {
	var e end
	for kind, value := range netlinkwire.Attributes(b) {
		switch kind {
		case ctaTupleIP:
			for kind, value := range netlinkwire.Attributes(value) {
				switch kind {
				case ctaIPv4Source, ctaIPv6Source:
					e.source, _ = netip.AddrFromSlice(value)
				case ctaIPv4Destination, ctaIPv6Destination:
					e.destination, _ = netip.AddrFromSlice(value)
				}
			}
		case ctaTupleProto:
			for kind, value := range netlinkwire.Attributes(value) {
				switch {
				case kind == ctaProtoNumber && len(value) == 1:
					e.protocol = value[0]
				case kind == ctaSourcePort && len(value) == 2:
					e.sourcePort = binary.BigEndian.Uint16(value)
				case kind == ctaDestinationPort && len(value) == 2:
					e.destinationPort = binary.BigEndian.Uint16(value)
				}
			}
		}
	}
	return e
}

// isOpen tells whether the state that a protocol keeps is one in which data may come.
func isOpen(b []byte) bool {
	for kind, value := range netlinkwire.Attributes(b) {
		if kind != ctaProtoInfoTCP {
			continue
		}
		for kind, value := range netlinkwire.Attributes(value) {
			if kind == ctaProtoInfoTCPState && len(value) == 1 {
				return value[0] < tcpTimeWait
			}
		}
	}
	return true
}

func parseBytes(b []byte) uint64 {
	for kind, value := range netlinkwire.Attributes(b) {
		if kind == ctaCountedB && len(value) == 8 {
			return binary.BigEndian.Uint64(value)
		}
	}
	return 0
}
