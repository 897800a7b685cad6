package report

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAReportWithoutATerminalHasNoColours(t *testing.T) {
	var out bytes.Buffer
	r := New(&out)
	r.Title("A demo", "of reports.")
	if err := r.Step("First", func() (string, error) {
		r.Say("doing %d things", 2)
		r.Detail("a1 %d", 3)
		r.Table([][]string{{"a", "b"}, {"long", "c"}})
		r.Check("done")
		return "2 things", nil
	}); err != nil {
		t.Fatal(err)
	}
	if !r.Summary() {
		t.Error("not a success")
	}
	const want = `A demo
of reports.

1. First
   doing 2 things
     a1 3
     a     b
     long  c
   ✓ done

Summary
   1  First  ok  0.0 s  2 things
  ✓ 1 step as expected, 0.0 s in all
`
	if diff := cmp.Diff(want, regexp.MustCompile(`\d\.\d s`).ReplaceAllString(out.String(), "0.0 s")); diff != "" {
		t.Error(diff)
	}
}

func TestAFailureIsToldAndCounted(t *testing.T) {
	var out bytes.Buffer
	r := New(&out)
	broken := errors.New("2 of 3 connections failed")
	if err := r.Step("First", func() (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if r.Summary() {
		t.Error("a success")
	}
	for _, want := range []string{"✗ 2 of 3 connections failed", "FAILED", "✗ 1 of 1 steps failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestDurationsInSentences(t *testing.T) {
	if Count(1, "step") != "1 step" || Count(uint64(0), "step") != "0 steps" {
		t.Error("a wrong plural")
	}
	if got := Duration(3140 * time.Microsecond); got != "3.1 ms" {
		t.Error(got)
	}
}
