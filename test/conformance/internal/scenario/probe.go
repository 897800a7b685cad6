package scenario

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Verdict is what must become of a probe's first packet.
type Verdict string

// The verdicts, as they are written.
const (
	Accepted  Verdict = "accepted"
	Refused   Verdict = "refused"
	Dropped   Verdict = "dropped"
	Untouched Verdict = "untouched"
)

// Probe is a line of a scenario:
//
//	S1,S2  pod pe1 -> tcp 10.96.0.1:80  = pe1:8080* nb1:8080
//	S5     outside 203.0.113.2 -> udp 192.168.0.2:30053  = refused
//
// First the rules that it shows. Then the client: "pod" or "outside" and the name or
// address of a place in the lab, or "host", which may be followed by the address to
// bind. Then protocol and destination. What is expected is a set of backends, all of
// which must answer and nobody else, with a * when they must see an address of the
// node; or refused, dropped or untouched. The words "sticky" and "even" after the
// backends ask for the same backend each time, and for about equal shares;
// "forgets=1s" asks for the same one for only so long.
type Probe struct {
	Line  int
	Text  string
	Rules []string

	From        string
	Source      string
	Protocol    string
	Destination netip.AddrPort

	Verdict      Verdict
	Backends     []Backend
	Sticky, Even bool
	Forgets      time.Duration
}

// Backend is an endpoint, and whether it sees an address of the node.
type Backend struct {
	// Name is "place:port" or "address:port".
	Name       string
	Masquerade bool
}

// Masquerades tells whether a backend must see an address of the node.
func (p Probe) Masquerades(name string) bool {
	return slices.Contains(p.Backends, Backend{Name: name, Masquerade: true})
}

var (
	probePattern = regexp.MustCompile(`^(S\d+(?:,S\d+)*)\s+(pod|host|outside)(?:\s+(\S+))?\s*->\s*(tcp|udp|sctp)\s+(\S+)\s*=\s*(.+)$`)
	spaces       = regexp.MustCompile(`\s+`)
)

func parseProbes(text string) ([]Probe, error) {
	var probes []Probe
	err := eachLine(text, func(number int, line string) error {
		p, err := parseProbe(line)
		p.Line = number
		probes = append(probes, p)
		return err
	})
	return probes, err
}

// eachLine calls f for every line that is not empty, without comments.
func eachLine(text string, f func(number int, line string) error) error {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := f(number, line); err != nil {
			return fmt.Errorf("line %d: %q: %w", number, line, err)
		}
	}
	return nil
}

func parseProbe(line string) (Probe, error) {
	m := probePattern.FindStringSubmatch(line)
	if m == nil {
		return Probe{}, fmt.Errorf("expected: S1 pod|host|outside NAME -> tcp|udp|sctp ADDRESS:PORT = BACKENDS|refused|dropped|untouched")
	}
	p := Probe{Text: spaces.ReplaceAllString(line, " "), Rules: strings.Split(m[1], ","), From: m[2], Source: m[3], Protocol: m[4]}
	if p.From != "host" && p.Source == "" {
		return p, fmt.Errorf("%s: expected the name of a place after it", p.From)
	}
	var err error
	if p.Destination, err = netip.ParseAddrPort(m[5]); err != nil {
		return p, fmt.Errorf("destination: %w", err)
	}
	words := strings.Fields(m[6])
	switch v := Verdict(words[0]); {
	case !slices.Contains([]Verdict{Refused, Dropped, Untouched}, v):
	case len(words) > 1:
		return p, fmt.Errorf("%q after %q", words[1], v)
	default:
		p.Verdict = v
		return p, nil
	}
	p.Verdict = Accepted
	for _, word := range words {
		switch {
		case word == "sticky":
			p.Sticky = true
		case word == "even":
			p.Even = true
		case strings.HasPrefix(word, "forgets="):
			if p.Forgets, err = time.ParseDuration(strings.TrimPrefix(word, "forgets=")); err != nil {
				return p, err
			}
			p.Sticky = true
		case !strings.Contains(word, ":"):
			return p, fmt.Errorf("%q: expected a backend (place:port) or one of refused, dropped, untouched, sticky, even", word)
		default:
			name, masquerade := strings.CutSuffix(word, "*")
			p.Backends = append(p.Backends, Backend{name, masquerade})
		}
	}
	if len(p.Backends) == 0 {
		return p, fmt.Errorf("expected backends")
	}
	return p, nil
}
