package nftables

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// drawElement draws an element of any set.
func drawElement(t *rapid.T, f *family) (setSpec, element) {
	spec := rapid.SampledFrom(f.sets).Draw(t, "set")
	bytes := func(label string, types []nftables.SetDatatype) string {
		length := uint32(0)
		for _, datatype := range types {
			length += (datatype.Bytes + 3) &^ 3
		}
		return string(rapid.SliceOfN(rapid.Byte(), int(length), int(length)).Draw(t, label))
	}
	e := element{set: spec.name, key: bytes("key", spec.key)}
	if spec.interval && len(spec.key) > 1 {
		e.keyEnd = bytes("end", spec.key)
	}
	switch {
	case spec.verdict:
		e.value = rapid.SampledFrom([]string{dropVerdict, "pick-3", rejectChain, "affinity-10800s"}).Draw(t, "chain")
	case spec.value != nil:
		e.value = bytes("value", spec.value)
	}
	return spec, e
}

// libraryElement is an element as the library wants it.
func libraryElement(s setSpec, e element) nftables.SetElement {
	converted := nftables.SetElement{Key: []byte(e.key)}
	if e.keyEnd != "" {
		converted.KeyEnd = []byte(e.keyEnd)
	}
	switch {
	case s.verdict && e.value == dropVerdict:
		converted.VerdictData = &expr.Verdict{Kind: expr.VerdictDrop}
	case s.verdict && (s.name == affinityTimeouts || s.name == localAffinityTimeouts):
		converted.VerdictData = &expr.Verdict{Kind: expr.VerdictJump, Chain: e.value}
	case s.verdict:
		converted.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.value}
	case s.value != nil:
		converted.Val = []byte(e.value)
	}
	return converted
}

// TestElementsAreEncodedAsTheLibraryDoes compares all that our encoder and the
// library's say of an element.
func TestElementsAreEncodedAsTheLibraryDoes(t *testing.T) {
	recorder, err := newRecorder()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		rapid.Check(t, func(t *rapid.T) {
			spec, e := drawElement(t, f)
			message := rapid.SampledFrom([]uint16{unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM}).Draw(t, "message")
			list := &elementList{message: message, family: f, set: &spec}
			list.add(e)
			queue := recorder.conn.SetAddElements
			if message == unix.NFT_MSG_DELSETELEM {
				queue = recorder.conn.SetDeleteElements
			}
			if err := queue(spec.set(f.table()), []nftables.SetElement{libraryElement(spec, e)}); err != nil {
				t.Fatal(err)
			}
			recorded, err := recorder.take()
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := list.messages()[0], recorded
			if a, b := ours[4:6], theirs[4:6]; !bytes.Equal(a, b) {
				t.Fatalf("message type %x, the library's %x", a, b)
			}
			if a, b := leaves(ours), leaves(theirs); a != b {
				t.Fatalf("%+v\nours         %s\nthe library's %s", e, a, b)
			}
		})
	}
}

// leaves prints the elements of a message, attribute by attribute.
func leaves(message []byte) string {
	elements := attribute(message[headerLen+nfgenmsgLen:], unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	var text []string
	for _, e := range netlinkwire.Attributes(elements) {
		for kind, value := range netlinkwire.Attributes(e) {
			for inner, data := range netlinkwire.Attributes(value) {
				text = append(text, fmt.Sprintf("%d.%d %x", kind, inner, data))
			}
		}
	}
	return strings.Join(text, ", ")
}

func TestLongListsAreManyMessages(t *testing.T) {
	const count = 50_000
	list := &elementList{message: unix.NFT_MSG_NEWSETELEM, family: ipv4, set: ipv4.specs[endpoints]}
	k := ruleset.Key{Addr: netip.MustParseAddr("10.96.0.1"), Protocol: state.TCP, Port: 80}
	backend := netip.MustParseAddrPort("10.244.1.1:8080")
	for slot := range count {
		list.add(slotElement(endpoints, k, slot, backend))
	}
	messages := 0
	for _, buffer := range list.messages() {
		for message := range netlinkwire.Messages(buffer) {
			if len(message) > 1<<16 {
				t.Errorf("a message of %d bytes", len(message))
			}
			messages++
		}
	}
	if elements := slices.Collect(list.elements()); len(elements) != count || elements[count-1] != slotElement(endpoints, k, count-1, backend) {
		t.Errorf("%d elements, the last %+v", len(elements), elements[len(elements)-1])
	}
	if messages < 30 || len(list.full) < 2 {
		t.Errorf("%d messages in %d buffers", messages, len(list.full)+1)
	}
}
