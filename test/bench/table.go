package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
)

// row compares a figure with another, or with nothing.
type row struct {
	what   string
	figure metric
	// shown is the unit to print, by is what the figure is divided by for that.
	shown string
	by    float64
	// against is the floor or the peer, named by peer.
	against metric
	peer    string
	target  target
	run     string
	// asRoot is set for what others cannot measure.
	asRoot bool
}

// target bounds the ratio, or the figure of a row that is compared with nothing. The
// zero value bounds nothing.
type target struct {
	kind  targetKind
	bound float64
}

type targetKind int

const (
	none targetKind = iota
	atMost
	atLeast
)

func (t target) met(value float64) bool {
	switch t.kind {
	case atMost:
		return value <= t.bound
	case atLeast:
		return value >= t.bound
	default:
		return true
	}
}

// section is a table of the document.
type section struct {
	title string
	rows  []row
}

// table is a section with its figures.
type table struct {
	Title string
	Lines []line
}

type line struct{ What, Ratio, Figure, Against, Target, Verdict, Run string }

// fill finds the figures of all rows, and fails for those that have none.
func fill(sections []section, found results) ([]table, error) {
	var tables []table
	var missing []error
	for _, s := range sections {
		t := table{Title: s.title}
		for _, r := range s.rows {
			l, err := r.fill(found)
			if err != nil {
				missing = append(missing, fmt.Errorf("%s: %w", r.what, err))
			}
			t.Lines = append(t.Lines, l)
		}
		tables = append(tables, t)
	}
	return tables, errors.Join(missing...)
}

func (r row) fill(found results) (line, error) {
	l := line{What: r.what, Run: r.run}
	figure, err := found.median(r.figure)
	if err != nil && r.asRoot && os.Getuid() != 0 {
		l.Figure = "takes root to measure"
		return l, nil
	}
	if err != nil {
		return l, err
	}
	judged := figure / r.scale()
	l.Figure = r.show(figure)
	if r.against != (metric{}) {
		against, err := found.median(r.against)
		if err != nil {
			return l, err
		}
		judged = figure / against
		l.Ratio, l.Against = number(judged), r.show(against)+" "+r.peer
	}
	if r.target.kind == none {
		return l, nil
	}
	l.Target, l.Verdict = r.describe(), "met"
	if !r.target.met(judged) {
		l.Verdict = "**MISSED**"
	}
	return l, nil
}

func (r row) scale() float64 {
	if r.by == 0 {
		return 1
	}
	return r.by
}

func (r row) show(figure float64) string {
	return strings.TrimSpace(number(figure/r.scale()) + " " + r.shown)
}

func (r row) describe() string {
	sign, unit := "≤ ", ""
	if r.target.kind == atLeast {
		sign = "≥ "
	}
	if r.against == (metric{}) {
		unit = " " + r.shown
	}
	return sign + number(r.target.bound) + unit
}

// number prints three digits, and small ratios as fractions.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v > 0 && v <= 0.05:
		return "1/" + grouped(int64(math.Round(1/v)))
	case v >= 100:
		return grouped(int64(math.Round(v)))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func grouped(v int64) string {
	if v < 1000 {
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%s,%03d", grouped(v/1000), v%1000)
}
