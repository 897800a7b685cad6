// Package strictyaml decodes YAML or JSON for people who make mistakes: a misspelt
// field, a repeated key or a value of the wrong type is a fault with its line, the
// field's path and, of a misspelt one, what may have been meant. It is pure.
package strictyaml

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

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

// Decode decodes one document. Its error joins a Fault for each field that is wrong.
func Decode(text []byte, into any) error {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return Syntax(err)
	}
	var all []error
	for _, fault := range Unmarshal(data, into) {
		fault.Line = LineOf(text, fault.Field)
		all = append(all, fault)
	}
	return errors.Join(all...)
}

// Unmarshal decodes JSON. It knows upper from lower case, as the API server does. The
// faults have no lines.
func Unmarshal(data []byte, into any) []*Fault {
	var faults []*Fault
	strict, err := json.UnmarshalStrict(data, into)
	if err != nil {
		faults = append(faults, mismatch(data, into, err))
	}
	for _, err := range strict {
		faults = append(faults, extra(err, into))
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
	if strings.HasPrefix(kind, "unknown") {
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
