package traffic

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
)

// attribute encodes a netlink attribute of parts.
func attribute(kind uint16, parts ...[]byte) []byte {
	b := make([]byte, unix.SizeofNlAttr)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	for len(b)%unix.NLA_ALIGNTO > 0 {
		b = append(b, 0)
	}
	return b
}

// entry encodes what the kernel says of a TCP connection.
func entry(number uint32, destination, answers [4]byte) []byte {
	half := func(kind uint16, source, destination [4]byte, sourcePort, destinationPort uint16) []byte {
		return attribute(kind,
			attribute(ctaTupleIP, attribute(ctaIPv4Source, source[:]), attribute(ctaIPv4Destination, destination[:])),
			attribute(ctaTupleProto, attribute(ctaProtoNumber, []byte{6}),
				attribute(ctaSourcePort, binary.BigEndian.AppendUint16(nil, sourcePort)), attribute(ctaDestinationPort, binary.BigEndian.AppendUint16(nil, destinationPort))))
	}
	counters := func(kind uint16) []byte {
		return attribute(kind, attribute(1, make([]byte, 8)), attribute(ctaCountedB, binary.BigEndian.AppendUint64(nil, 12345)))
	}
	client := [4]byte{10, 9, 0, 9}
	payload := append([]byte{2, 0, 0, 0}, half(ctaTupleOrig, client, destination, 40000, 80)...)
	payload = append(payload, half(ctaTupleReply, answers, client, 8080, 40000)...)
	payload = append(payload, attribute(ctaProtoInfo, attribute(ctaProtoInfoTCP, attribute(ctaProtoInfoTCPState, []byte{tcpTimeWait})))...)
	payload = append(payload, counters(ctaCountersOrig)...)
	payload = append(payload, counters(ctaCountersReply)...)
	return append(payload, attribute(ctaID, binary.BigEndian.AppendUint32(nil, number))...)
}

// TestAnEntryIsRead as the kernel writes it, to the last attribute.
func TestAnEntryIsRead(t *testing.T) {
	got, ok := parseFlow(entry(7, web.Addr.As4(), [4]byte{10, 244, 1, 1}))
	want := flow{id: flowID{number: 7, sourcePort: 40000}, to: web.Key, translated: true, sent: 12345, received: 12345}
	if !ok || got != want {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
	if got, ok := parseFlow(entry(7, web.Addr.As4(), [4]byte{10, 244, 1, 1})[:60]); ok {
		t.Errorf("half an entry is %+v", got)
	}
}

// BenchmarkEntries reads and counts a table of 100,000 connections to a Service that have been
// there before, or that are nobody's.
func BenchmarkEntries(b *testing.B) {
	const connections = 100_000
	for name, destination := range map[string][4]byte{"of a Service": web.Addr.As4(), "of others": {192, 0, 2, 1}} {
		b.Run(name, func(b *testing.B) {
			m := New(time.Hour, hclog.NewNullLogger())
			m.Update([]ruleset.Change{{New: web}})
			list := make([][]byte, connections)
			for i := range list {
				list[i] = entry(uint32(i), destination, [4]byte{10, 244, 1, 1})
			}
			read := func() {
				for _, payload := range list {
					if f, ok := parseFlow(payload); ok {
						m.see(&f, false)
					}
				}
			}
			read()
			b.ReportAllocs()
			for b.Loop() {
				read()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/connections, "ns/connection")
		})
	}
}
