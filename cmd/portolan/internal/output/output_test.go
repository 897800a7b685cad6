package output

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

func TestAgesAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 200 * time.Second: "3m20s",
		59 * time.Minute: "59m", 5 * time.Hour: "5h", 47 * time.Hour: "47h", 100 * time.Hour: "4d",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestDurationsAndSizesHaveAboutThreeDigits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		840123 * time.Nanosecond: "840µs", 3140 * time.Microsecond: "3.1ms", 250400 * time.Microsecond: "250ms", 1254 * time.Millisecond: "1.25s",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 14_210: "14.2 kB", 3_000_000: "3.0 MB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRowsAlignAndDoNotEndInSpaces(t *testing.T) {
	var out bytes.Buffer
	if err := Rows(&out, []string{"NODE", "ERROR"}, [][]string{{"a", "two\nlines"}, {"long-name", ""}}); err != nil {
		t.Fatal(err)
	}
	want := "NODE        ERROR\na           two lines\nlong-name   -\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFormats(t *testing.T) {
	message := &introspectionv1.ListNodesResponse{Revision: 7}
	for format, want := range map[Format]string{
		JSON:  "{\n  \"revision\": \"7\",\n  \"nodes\": []\n}\n",
		YAML:  "nodes: []\nrevision: \"7\"\n",
		Table: "a table\n",
	} {
		var out bytes.Buffer
		err := format.Print(&out, message, func(w io.Writer) error { _, err := io.WriteString(w, "a table\n"); return err })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
}

func TestACommandTakesTheFormatsThatItHas(t *testing.T) {
	for _, test := range []struct {
		more []Format
		set  string
		want string
	}{
		{nil, "yaml", ""}, {nil, "wide", "expected table, json, yaml or jsonpath=TEMPLATE"},
		{[]Format{Wide}, "wide", ""}, {[]Format{Wide}, "xml", "expected table, json, yaml, wide or jsonpath=TEMPLATE"},
	} {
		var format Format
		command := &cobra.Command{Use: "x", Run: func(*cobra.Command, []string) {}}
		format.Register(command, test.more...)
		err := command.Flags().Set("output", test.set)
		if test.want == "" && (err != nil || string(format) != test.set) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || format != Table) {
			t.Errorf("-o %s: %v, format %s; want %q", test.set, err, format, test.want)
		}
	}
}

func TestTemplates(t *testing.T) {
	message := &introspectionv1.ListNodesResponse{Revision: 7, Nodes: []*introspectionv1.NodeStatus{{Node: "a", Zone: "z"}, {Node: "b"}}}
	for template, want := range map[string]string{
		"{.nodes[*].node}": "a b\n", ".revision": "7\n", "nodes[0].zone": "z\n", "{.nowhere}": "\n",
		`{range .nodes[*]}{.node}={.zone}{"\n"}{end}`: "a=z\nb=\n\n",
		`{.nodes[?(@.zone=="z")].node}`:               "a\n",
	} {
		var format Format
		command := &cobra.Command{}
		format.Register(command)
		if err := command.Flags().Set("output", "jsonpath="+template); err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		var out bytes.Buffer
		if err := format.Print(&out, message, nil); err != nil || out.String() != want {
			t.Errorf("%s: %q, error %v; want %q", template, out.String(), err, want)
		}
	}
	var format Format
	command := &cobra.Command{}
	format.Register(command)
	if err := command.Flags().Set("output", "jsonpath={.nodes[}"); err == nil || !strings.Contains(err.Error(), "expected a template such as jsonpath='{.nodes[*].node}'") {
		t.Errorf("error %v", err)
	}
}
