package check

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// report is what was found.
type report struct {
	Checks  []check.Result `json:"checks"`
	Summary summary        `json:"summary"`
}

type summary struct {
	Passed  int `json:"passed"`
	Warned  int `json:"warned"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

func newReport(results []check.Result) report {
	return report{Checks: results, Summary: summary{
		Passed: check.Count(results, check.Pass), Warned: check.Count(results, check.Warn),
		Failed: check.Count(results, check.Fail), Skipped: check.Count(results, check.Skip),
	}}
}

// String sums up in a line.
func (s summary) String() string {
	return fmt.Sprintf("%d checks: %d passed, %d warnings, %d failed, %d skipped", s.Passed+s.Warned+s.Failed+s.Skipped, s.Passed, s.Warned, s.Failed, s.Skipped)
}

func (r report) print(w io.Writer, format output.Format) error {
	switch format {
	case output.Table:
		r.table(w, output.Coloured(w))
		return nil
	case output.JUnit:
		return r.junit(w)
	default:
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("as JSON: %w", err)
		}
		return format.PrintJSON(w, text)
	}
}

// colours are those of the outcomes: green, yellow, red and dim.
var colours = map[check.Outcome]string{check.Pass: "32", check.Warn: "33", check.Fail: "31", check.Skip: "2"}

func (r report) table(w io.Writer, coloured bool) {
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.ID))
	}
	group := ""
	for _, c := range r.Checks {
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(w, "%s\n", group)
		}
		word := strings.ToUpper(string(c.Outcome))
		if coloured {
			word = "\x1b[" + colours[c.Outcome] + "m" + word + "\x1b[0m"
		}
		fmt.Fprintf(w, "  %s  %-*s  %s\n", word, width, c.ID, c.Message)
		if c.Outcome == check.Fail || c.Outcome == check.Warn {
			indent := strings.Repeat(" ", len("  PASS  ")+width+2)
			fmt.Fprintf(w, "%s%s\n%s%s\n", indent, c.Advice, indent, c.Documentation)
		}
	}
	fmt.Fprintln(w, r.Summary)
}

// The elements of JUnit's format, as far as those who read it agree.
type (
	suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Suites   []*suite `xml:"testsuite"`
	}
	suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	testCase struct {
		Name    string  `xml:"name,attr"`
		Class   string  `xml:"classname,attr"`
		Time    string  `xml:"time,attr"`
		Failure *remark `xml:"failure"`
		Skipped *remark `xml:"skipped"`
		Out     string  `xml:"system-out,omitempty"`
	}
	remark struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// junit writes a suite for each group. A warning is a test that passes and says something.
func (r report) junit(w io.Writer) error {
	all := suites{Name: "portolan check", Tests: len(r.Checks), Failures: r.Summary.Failed, Skipped: r.Summary.Skipped}
	for _, c := range r.Checks {
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != c.Group {
			all.Suites = append(all.Suites, &suite{Name: c.Group})
		}
		in := all.Suites[len(all.Suites)-1]
		one := testCase{Name: c.ID, Class: string(c.Scope) + "." + c.Group, Time: fmt.Sprintf("%.3f", c.Seconds)}
		more := c.Advice + "\n" + c.Documentation
		switch c.Outcome {
		case check.Fail:
			one.Failure = &remark{Message: c.Message, Text: more}
			in.Failures++
		case check.Skip:
			one.Skipped = &remark{Message: c.Message}
			in.Skipped++
		case check.Warn:
			one.Out = "warning: " + c.Message + "\n" + more
		default:
			one.Out = c.Message
		}
		in.Tests++
		in.Cases = append(in.Cases, one)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("as JUnit's XML: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}
