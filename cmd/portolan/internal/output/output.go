// Package output prints answers the way kubectl does: as a table for people, or as
// JSON or YAML for programs.
package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// Format is the value of -o; it is a pflag.Value.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Register adds -o to a command.
func (f *Format) Register(command *cobra.Command) {
	*f = Table
	command.Flags().VarP(f, "output", "o", "how to print: table, json or yaml")
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{string(Table), string(JSON), string(YAML)}, cobra.ShellCompDirectiveNoFileComp))
}

// String implements pflag.Value.
func (f *Format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *Format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *Format) Set(text string) error {
	switch format := Format(text); format {
	case Table, JSON, YAML:
		*f = format
		return nil
	default:
		return fmt.Errorf("expected table, json or yaml")
	}
}

// Print writes the message as JSON or YAML, or as the table that is given.
func (f *Format) Print(w io.Writer, message proto.Message, table func(io.Writer) error) error {
	if *f == Table {
		return table(w)
	}
	text, err := encode(message)
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

// encode returns indented JSON. protojson varies its white space at random, so it
// is laid out again.
func encode(message proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("as JSON: %w", err)
	}
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
