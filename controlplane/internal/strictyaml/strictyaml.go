// Package strictyaml decodes YAML or JSON for people who make mistakes: a misspelt
// field, a repeated key or a value of the wrong type is a fault with its line, the
// field's path and, of a misspelt one, what may have been meant. It is pure.
package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Fault is what is wrong with one field.
type Fault struct {
	// Line counts from 1; 0 is unknown.
	Line int
	// Field is a path such as "ipvs.scheduler"; empty if it is about the whole.
	Field string
	Value string
	// Message says what was expected.
	Message string
	// Hint, if not empty, says what may have been meant; it begins with a semicolon.
	Hint string
}

// Error implements error.
func (f *Fault) Error() string {
	var text strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&text, "line %d: ", f.Line)
	}
	switch {
	case f.Field != "" && f.Value != "":
		fmt.Fprintf(&text, "%s %q: ", f.Field, f.Value)
	case f.Field != "":
		fmt.Fprintf(&text, "%s: ", f.Field)
	}
	return text.String() + f.Message + f.Hint
}

// Decode decodes the only document of a file. Its error joins a Fault for each field
// that is wrong.
func Decode(text []byte, into any) error {
	data, err := ToJSON(text)
	if err != nil {
		return err
	}
	faults := Unmarshal(data, into)
	for _, fault := range faults {
		fault.Line = LineOf(text, fault.Field)
	}
	return Join(faults)
}

// Join returns faults as one error, in the order of their lines; nil if there is none.
func Join(faults []*Fault) error {
	slices.SortStableFunc(faults, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	var all []error
	for _, fault := range faults {
		all = append(all, fault)
	}
	return errors.Join(all...)
}

// ToJSON returns the only document of a file as JSON; its error is a Fault. What follows
// the first document would be passed over in silence by most decoders, so it is refused,
// unless it is empty.
func ToJSON(text []byte) ([]byte, error) {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, Syntax(err)
	}
	decoder := yamlv3.NewDecoder(bytes.NewReader(text))
	for n := 0; ; n++ {
		var document yamlv3.Node
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, Syntax(err)
		case n > 0 && !empty(&document):
			return nil, &Fault{Line: document.Content[0].Line, Message: fmt.Sprintf("expected one document, but here is document %d", n+1)}
		}
	}
}

func empty(document *yamlv3.Node) bool {
	return len(document.Content) == 0 || document.Content[0].Tag == "!!null"
}

const unknownField = "unknown field"

// Unmarshal decodes JSON. It knows upper from lower case, as the API server does. The
// faults have no lines.
func Unmarshal(data []byte, into any) []*Fault {
	strict, err := json.UnmarshalStrict(data, into)
	if err == nil {
		var faults []*Fault
		for _, err := range strict {
			faults = append(faults, extra(err, into))
		}
		return faults
	}
	faults := mismatches(reflect.TypeOf(into), data, "")
	for _, fault := range faults {
		if fault.Message == unknownField {
			fault.Hint = hint(into, fault.Field)
		}
	}
	if len(faults) == 0 { // JSON that is none, and the like.
		return []*Fault{{Message: strings.TrimPrefix(err.Error(), "json: ")}}
	}
	return faults
}

// extra is about a field that is unknown or repeated.
func extra(err error, into any) *Fault {
	var at json.FieldError
	if !errors.As(err, &at) {
		return &Fault{Message: err.Error()}
	}
	kind, _, _ := strings.Cut(err.Error(), ` "`)
	fault := &Fault{Field: at.FieldPath(), Message: kind}
	if kind == unknownField {
		fault.Hint = hint(into, fault.Field)
	}
	return fault
}

var syntaxLine = regexp.MustCompile(`line (\d+): ([^\n]*)`)

// Syntax turns a YAML parser's error, which has its line in its text only, into a
// fault.
func Syntax(err error) *Fault {
	match := syntaxLine.FindStringSubmatch(err.Error())
	if match == nil {
		text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
		return &Fault{Message: "expected YAML or JSON: " + strings.TrimPrefix(text, "yaml: ")}
	}
	line, _ := strconv.Atoi(match[1])
	if strings.Contains(match[2], "already set in map") {
		return &Fault{Line: line, Message: match[2] + ": expected each key once"}
	}
	return &Fault{Line: line, Message: "expected YAML or JSON: " + match[2]}
}
