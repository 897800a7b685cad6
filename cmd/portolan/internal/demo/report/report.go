// Package report prints what a demonstration does, step by step, and sums it up.
package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// Report prints to a terminal, in colour, or to anything else, without.
type Report struct {
	out     io.Writer
	colours bool
	begun   time.Time
	steps   []step
}

type step struct {
	title, figure string
	took          time.Duration
	failed        bool
}

// New returns a report.
func New(out io.Writer) *Report {
	return &Report{out: out, begun: time.Now(), colours: output.Coloured(out)}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (r *Report) paint(code, text string) string {
	if !r.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Title prints what all of it is about.
func (r *Report) Title(title string, lines ...string) {
	fmt.Fprintln(r.out, r.paint(bold, title))
	for _, line := range lines {
		fmt.Fprintln(r.out, line)
	}
}

// Step runs a step under a numbered heading and keeps its figure for the summary.
func (r *Report) Step(title string, run func() (figure string, err error)) error {
	fmt.Fprintf(r.out, "\n%s\n", r.paint(bold, fmt.Sprintf("%d. %s", len(r.steps)+1, title)))
	begun := time.Now()
	figure, err := run()
	r.steps = append(r.steps, step{title: title, figure: figure, took: time.Since(begun), failed: err != nil})
	if err != nil {
		fmt.Fprintf(r.out, "   %s %v\n", r.paint(red, "✗"), err)
	}
	return err
}

// Say prints what is happening.
func (r *Report) Say(format string, arguments ...any) {
	fmt.Fprintf(r.out, "   %s\n", fmt.Sprintf(format, arguments...))
}

// Detail prints what belongs to the line before.
func (r *Report) Detail(format string, arguments ...any) {
	fmt.Fprintf(r.out, "     %s\n", r.paint(dim, fmt.Sprintf(format, arguments...)))
}

// Check prints what was found to be as expected.
func (r *Report) Check(format string, arguments ...any) {
	fmt.Fprintf(r.out, "   %s %s\n", r.paint(green, "✓"), fmt.Sprintf(format, arguments...))
}

// Table prints rows with aligned columns.
func (r *Report) Table(rows [][]string) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(r.out, strings.TrimRight("     "+line, " \n"))
	}
}

// Command prints a command to copy, under what it is for.
func (r *Report) Command(what, command string) {
	fmt.Fprintf(r.out, "\n   %s\n     %s\n", what, r.paint(bold, command))
}

// Summary prints a line a step and the whole time, and tells whether all went well.
func (r *Report) Summary() bool {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	failed := 0
	for i, s := range r.steps {
		verdict := "ok"
		if s.failed {
			verdict = "FAILED"
			failed++
		}
		fmt.Fprintf(table, "%2d\t%s\t%s\t%s\t%s\n", i+1, s.title, verdict, seconds(s.took), s.figure)
	}
	_ = table.Flush()
	fmt.Fprintf(r.out, "\n%s\n", r.paint(bold, "Summary"))
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(r.out, strings.TrimRight("  "+line, " \n"))
	}
	verdict := r.paint(green, fmt.Sprintf("✓ %s as expected", Count(len(r.steps), "step")))
	if failed > 0 {
		verdict = r.paint(red, fmt.Sprintf("✗ %d of %d steps failed", failed, len(r.steps)))
	}
	fmt.Fprintf(r.out, "  %s, %s in all\n", verdict, seconds(time.Since(r.begun)))
	return failed == 0
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Count returns a number of things: "1 step", "2 steps".
func Count[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Duration returns a short duration for a sentence: "3.1 ms".
func Duration(d time.Duration) string {
	text := output.Took(d)
	unit := strings.TrimLeft(text, "0123456789.")
	return strings.TrimSuffix(text, unit) + " " + unit
}
