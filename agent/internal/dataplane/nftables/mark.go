package nftables

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Each rule carries a hash of its expressions, so that an agent which finds the rule
// knows whether it is the one that it would make. The kernel's own form of the
// expressions cannot be compared: it gives back more than it was given.

// markKind is a kind of user data that nft does not know and does not print.
const markKind = 0x70

// marksOf returns the user data of a chain's rules: one type-length-value each.
func marksOf(family nftables.TableFamily, rules [][]expr.Any) [][]byte {
	marks := make([][]byte, len(rules))
	for i, exprs := range rules {
		hash := xxhash.New()
		for _, e := range exprs {
			encoded, err := expr.Marshal(byte(family), e)
			if err != nil {
				// The library encodes the rule in the same way and reports the error.
				continue
			}
			_, _ = hash.Write(encoded)
		}
		marks[i] = binary.BigEndian.AppendUint64([]byte{markKind, 8}, hash.Sum64())
	}
	return marks
}

// areMarked tells whether the rules of a chain are those, in that order.
func areMarked(found []*nftables.Rule, marks [][]byte) bool {
	if len(found) != len(marks) {
		return false
	}
	for i, rule := range found {
		if string(rule.UserData) != string(marks[i]) {
			return false
		}
	}
	return true
}
