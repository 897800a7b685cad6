// Package output prints answers the way kubectl does: as a table for people, or as
// JSON or YAML, or what a template makes of it, for programs.
package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// Format is the value of -o.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
	// Wide is a table with more columns, of commands that have them.
	Wide Format = "wide"
	// JUnit is what systems for continuous integration read, of commands that check.
	JUnit Format = "junit"
)

// Register adds -o to a command, with the formats that it has beside the usual ones.
func (f *Format) Register(command *cobra.Command, more ...Format) {
	*f = Table
	choice := &choice{Format: f, from: append([]Format{Table, JSON, YAML}, more...)}
	command.Flags().VarP(choice, "output", "o", "how to print: "+choice.names())
	var completions []string
	for _, format := range choice.from {
		completions = append(completions, string(format))
	}
	completions = append(completions, jsonPath)
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(completions, cobra.ShellCompDirectiveNoFileComp))
}

// choice is a Format as a flag; it is a pflag.Value.
type choice struct {
	*Format
	from []Format
}

// String implements pflag.Value.
func (c *choice) String() string {
	if c.Format == nil {
		return ""
	}
	return string(*c.Format)
}

// Type implements pflag.Value.
func (c *choice) Type() string { return "format" }

// Set implements pflag.Value.
func (c *choice) Set(text string) error {
	if template, ok := strings.CutPrefix(text, jsonPath); ok {
		_, err := parseTemplate(template)
		*c.Format = Format(text)
		return err
	}
	if !slices.Contains(c.from, Format(text)) {
		return fmt.Errorf("expected %s", c.names())
	}
	*c.Format = Format(text)
	return nil
}

// names lists the formats: "table, json, yaml or jsonpath=TEMPLATE".
func (c *choice) names() string {
	var names []string
	for _, format := range c.from {
		names = append(names, string(format))
	}
	return strings.Join(names, ", ") + " or " + jsonPath + "TEMPLATE"
}

// Print writes the message as JSON or YAML, or as the table that is given.
func (f *Format) Print(w io.Writer, message proto.Message, table func(io.Writer) error) error {
	if *f == Table || *f == Wide {
		return table(w)
	}
	text, err := Encode(message)
	if err != nil {
		return err
	}
	return f.PrintJSON(w, text)
}

// Encode returns a message as JSON, with the fields that have no value, for PrintJSON.
func Encode(message proto.Message) (json.RawMessage, error) {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("as JSON: %w", err)
	}
	return text, nil
}

// PrintJSON writes JSON as JSON or YAML, or what a template makes of it.
func (f *Format) PrintJSON(w io.Writer, text []byte) error {
	if template, ok := f.template(); ok {
		return execute(w, template, text)
	}
	text, err := layOut(text)
	if err != nil {
		return err
	}
	if *f == YAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("as YAML: %w", err)
		}
	}
	_, err = w.Write(text)
	return err
}

// layOut returns indented JSON. protojson varies its white space at random.
func layOut(text []byte) ([]byte, error) {
	var laidOut bytes.Buffer
	if err := json.Indent(&laidOut, text, "", "  "); err != nil {
		return nil, fmt.Errorf("as JSON: %w", err)
	}
	laidOut.WriteByte('\n')
	return laidOut.Bytes(), nil
}

// Rows writes aligned columns; an empty cell shows as "-".
func Rows(w io.Writer, heading []string, rows [][]string) error {
	const gap = 3
	table := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = strings.Join(strings.Fields(cell), " "); cells[i] == "" {
				cells[i] = "-"
			}
		}
		// No tab after the last cell, so that lines do not end in spaces.
		if _, err := fmt.Fprintln(table, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}
