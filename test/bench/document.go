package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"text/template"

	"golang.org/x/sys/unix"
)

// document is what the template is filled with.
type document struct {
	Date    string
	Machine string
	Tables  []table
	Curves  []drawn
	Runs    []invocation
}

//go:embed benchmarks.md.tmpl
var text string

func writeDocument(path string, d document) error {
	parsed, err := template.New("benchmarks").Parse(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := parsed.Execute(&b, d); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// printTables prints for a terminal what the document says.
func printTables(w io.Writer, tables []table) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range tables {
		fmt.Fprintf(out, "\n%s\n", t.Title)
		for _, l := range t.Lines {
			fmt.Fprintf(out, "  %s\t%s\t%s\t%s\t%s\t%s\n", l.What, l.Ratio, l.Figure, l.Against, l.Target, strings.Trim(l.Verdict, "*"))
		}
	}
	return out.Flush()
}

// thisMachine says what the figures were taken on.
func thisMachine() string {
	var name unix.Utsname
	release := "unknown"
	if unix.Uname(&name) == nil {
		release = unix.ByteSliceToString(name.Release[:])
	}
	if parts := strings.SplitN(release, ".", 3); len(parts) == 3 {
		release = parts[0] + "." + parts[1]
	}
	return fmt.Sprintf("%d cores (%s), Linux %s, %s", runtime.NumCPU(), processor(), release, strings.Replace(runtime.Version(), "go", "Go ", 1))
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}
