package strictyaml

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

var (
	decodesJSON = reflect.TypeFor[json.Unmarshaler]()
	decodesText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// mismatches lists what a value of a type cannot be decoded from, and the fields that
// the type has not. The decoder itself stops at the first of the former, tells its place
// without indexes, and that of a value that decodes itself, such as a duration, not at
// all.
func mismatches(t reflect.Type, data json.RawMessage, path string) []*Fault {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if string(data) == "null" {
		return nil
	}
	if p := reflect.PointerTo(t); p.Implements(decodesJSON) || p.Implements(decodesText) {
		return mismatch(t, data, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return structMismatches(t, data, path)
	case reflect.Map:
		return mapMismatches(t, data, path)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // Bytes are a text.
			return sliceMismatches(t, data, path)
		}
	default: // A scalar.
	}
	return mismatch(t, data, path)
}

// mismatch tries a value that is decoded as a whole.
func mismatch(t reflect.Type, data json.RawMessage, path string) []*Fault {
	err := json.Unmarshal(data, reflect.New(t).Interface())
	if err == nil {
		return nil
	}
	return []*Fault{{Field: path, Value: shown(data), Message: expectation(t, err)}}
}

func structMismatches(t reflect.Type, data json.RawMessage, path string) []*Fault {
	var values map[string]json.RawMessage
	if json.Unmarshal(data, &values) != nil {
		return mismatch(t, data, path)
	}
	var faults []*Fault
	for _, field := range reflect.VisibleFields(t) {
		name := jsonName(field)
		if value, set := values[name]; set && name != "" {
			delete(values, name)
			faults = append(faults, mismatches(field.Type, value, join(path, name))...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		faults = append(faults, &Fault{Field: join(path, name), Message: unknownField})
	}
	return faults
}

func mapMismatches(t reflect.Type, data json.RawMessage, path string) []*Fault {
	var values map[string]json.RawMessage
	if json.Unmarshal(data, &values) != nil {
		return mismatch(t, data, path)
	}
	var faults []*Fault
	for _, name := range slices.Sorted(maps.Keys(values)) {
		faults = append(faults, mismatches(t.Elem(), values[name], join(path, name))...)
	}
	return faults
}

func sliceMismatches(t reflect.Type, data json.RawMessage, path string) []*Fault {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		return mismatch(t, data, path)
	}
	var faults []*Fault
	for i, item := range items {
		faults = append(faults, mismatches(t.Elem(), item, fmt.Sprintf("%s[%d]", path, i))...)
	}
	return faults
}

// expectation says what a type is written as, in the words of somebody who writes YAML.
func expectation(t reflect.Type, err error) string {
	switch {
	case t.Name() == "Duration":
		return "expected a duration such as 30s"
	case reflect.PointerTo(t).Implements(decodesJSON):
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	switch t.Kind() {
	case reflect.String:
		return "expected a string"
	case reflect.Bool:
		return "expected true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("expected a whole number of %d bits", t.Bits())
	case reflect.Float32, reflect.Float64:
		return "expected a number"
	case reflect.Slice:
		return "expected a list"
	default:
		return "expected a mapping"
	}
}

// shown returns a value as people write it; of a long one only what it is.
func shown(data json.RawMessage) string {
	const long = 40
	var text string
	switch {
	case json.Unmarshal(data, &text) == nil:
		return text
	case len(data) <= long:
		return string(data)
	case data[0] == '{':
		return "{...}"
	default:
		return "[...]"
	}
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}
