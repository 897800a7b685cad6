package scenario

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Ask is a line about an HTTP server of the node under test:
//
//	S66,S67 outside 203.0.113.2 -> http://192.168.0.2:32000/ = 200 "localEndpoints":2
//	S69     outside 203.0.113.2 -> http://192.168.0.2:32000/ = closed
//
// Who asks is written as in a Probe. What is expected is a status, and texts that the
// headers or the body must have; or that nobody listens. Such servers exist while an
// agent runs, so asks are for those runs of a scenario.
type Ask struct {
	Text   string
	Rules  []string
	From   string
	Source string
	URL    string
	// Status is zero if nobody must listen.
	Status int
	Has    []string
}

var askPattern = regexp.MustCompile(`^(S\d+(?:,S\d+)*)\s+(pod|host|outside)(?:\s+(\S+))?\s*->\s*(http://\S+)\s*=\s*(closed|\d{3})(?:\s+(.+))?$`)

func parseAsks(text string) ([]Ask, error) {
	var asks []Ask
	err := eachLine(text, func(_ int, line string) error {
		a, err := parseAsk(line)
		asks = append(asks, a)
		return err
	})
	return asks, err
}

func parseAsk(line string) (Ask, error) {
	m := askPattern.FindStringSubmatch(line)
	if m == nil {
		return Ask{}, fmt.Errorf("expected: S1 pod|host|outside NAME -> http://ADDRESS:PORT/PATH = STATUS TEXTS, or closed")
	}
	a := Ask{Text: spaces.ReplaceAllString(line, " "), Rules: strings.Split(m[1], ","), From: m[2], Source: m[3], URL: m[4], Has: strings.Fields(m[6])}
	if a.From == "host" {
		a.Source = "host"
	}
	if a.Source == "" {
		return a, fmt.Errorf("%s: expected the name of a place after it", a.From)
	}
	if m[5] == "closed" {
		return a, nil
	}
	var err error
	a.Status, err = strconv.Atoi(m[5])
	return a, err
}
