package nftables

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
)

// attribute returns the value of the first attribute of a kind, or nil.
func attribute(buffer []byte, wanted uint16) []byte {
	for kind, value := range netlinkwire.Attributes(buffer) {
		if kind == wanted {
			return value
		}
	}
	return nil
}

// text returns what the kernel ends with a zero byte.
func text(value []byte) string { return strings.TrimRight(string(value), "\x00") }

// messageNames are nf_tables' messages that transactions have.
var messageNames = map[uint16]string{
	unix.NFT_MSG_NEWTABLE: "adding a table", unix.NFT_MSG_DELTABLE: "deleting a table",
	unix.NFT_MSG_NEWCHAIN: "adding a chain", unix.NFT_MSG_DELCHAIN: "deleting a chain",
	unix.NFT_MSG_NEWRULE: "adding a rule", unix.NFT_MSG_DELRULE: "deleting a chain's rules",
	unix.NFT_MSG_NEWSET: "adding a set", unix.NFT_MSG_NEWSETELEM: "adding an element",
	unix.NFT_MSG_DELSETELEM: "deleting an element", nftMsgDestroySetElem: "forgetting a client",
}

// describe says in words what a message asks for, and for elements which one the kernel
// stopped at.
func describe(message []byte, offset int) string {
	kind := netlinkwire.Type(message) & 0xff
	words, ok := messageNames[kind]
	if !ok {
		words = fmt.Sprintf("message %d", kind)
	}
	body := message[headerLen+nfgenmsgLen:]
	if kind != unix.NFT_MSG_NEWSETELEM && kind != unix.NFT_MSG_DELSETELEM && kind != nftMsgDestroySetElem {
		return words
	}
	set := text(attribute(body, unix.NFTA_SET_ELEM_LIST_SET))
	words += " of " + set
	// What is left after an element begins, counted from the end, tells where it is.
	for _, e := range netlinkwire.Attributes(attribute(body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
		end := cap(message) - cap(e) + len(e)
		if offset != 0 && offset < end {
			key := attribute(attribute(e, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE)
			return words + " " + describeKey(key, message[headerLen])
		}
	}
	return words
}

// describeKey prints a key as nft does as far as it is an address, or a frontend.
func describeKey(key []byte, number byte) string {
	f := ipv4
	if number == uint8(ipv6.number) {
		f = ipv6
	}
	if len(key) < f.frontendLen() {
		return fmt.Sprintf("%x", key)
	}
	frontend, rest := parseFrontend(f, key), key[f.frontendLen():]
	if len(rest) == 0 {
		return frontend.String()
	}
	return fmt.Sprintf("%s . %x", frontend, rest)
}
