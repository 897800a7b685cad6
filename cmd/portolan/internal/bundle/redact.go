package bundle

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// pseudonyms are what names and addresses are replaced by.
type pseudonyms struct {
	// given has the pseudonym of each name, and the text of each address.
	given map[string]string
	count map[string]int
}

func newPseudonyms() *pseudonyms {
	return &pseudonyms{given: map[string]string{}, count: map[string]int{}}
}

// ordinary are names that tell nothing.
var ordinary = map[string]bool{"": true, "default": true, "kubernetes": true, "kube-system": true, "kube-dns": true}

// learn gives a name a pseudonym of a kind, unless it has one or is an ordinary one.
func (p *pseudonyms) learn(kind, name string) {
	if _, known := p.given[name]; known || ordinary[name] {
		return
	}
	p.count[kind]++
	p.given[name] = fmt.Sprintf("%s-%d", kind, p.count[kind])
}

var (
	words     = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9_.-]*`)
	addresses = regexp.MustCompile(`[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|\b\d{1,3}(?:\.\d{1,3}){3}\b`)
)

// redact replaces addresses, and the names that were learnt: as words, and where objects
// that belong to a Service are named after it.
func (p *pseudonyms) redact(text []byte) []byte {
	text = addresses.ReplaceAllFunc(text, func(found []byte) []byte { return []byte(p.address(string(found))) })
	return words.ReplaceAllFunc(text, func(found []byte) []byte { return []byte(p.word(string(found))) })
}

func (p *pseudonyms) word(word string) string {
	if given, known := p.given[word]; known {
		return given
	}
	for at := len(word) - 1; at > 0; at-- {
		if given, known := p.given[word[:at]]; known && word[at] == '-' {
			return given + word[at:]
		}
	}
	return word
}

// address replaces an address by one of the networks for documentation, of which there are
// enough: 198.18.0.0/15 (RFC 2544) and 2001:db8::/32 (RFC 3849).
func (p *pseudonyms) address(text string) string {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
		return text
	}
	if given, known := p.given[text]; known {
		return given
	}
	const family = "address"
	p.count[family]++
	n := p.count[family]
	given := fmt.Sprintf("198.%d.%d.%d", 18+n>>16&1, n>>8&0xff, n&0xff)
	if addr.Is6() {
		given = fmt.Sprintf("2001:db8::%x:%x", n>>16, n&0xffff)
	}
	p.given[text] = given
	return given
}

// list returns what stands for what, by what it is called in the bundle.
func (p *pseudonyms) list() []byte {
	reverse := make(map[string]string, len(p.given))
	for name, given := range p.given {
		reverse[given] = name
	}
	text, err := json.MarshalIndent(reverse, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("names are no JSON: %v", err))
	}
	return []byte(strings.TrimSpace(string(text)) + "\n")
}
