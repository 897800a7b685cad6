package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// mismatch says where in the JSON a value of the wrong type is, what it is and what
// was expected.
func mismatch(data []byte, into any, err error) *Fault {
	if path, text, found := culprit(reflect.TypeOf(into), data, ""); found {
		return &Fault{Field: path, Value: text, Message: expectation(err)}
	}
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return &Fault{Message: strings.TrimPrefix(err.Error(), "json: ")}
	}
	fault := &Fault{Field: wrong.Field, Value: wrong.Value, Message: "expected " + describeType(wrong.Type)}
	// The decoder's path lacks indexes. Its offset tells them, unless it counts
	// within a value that decodes itself.
	path, text := valueAt(data, wrong.Offset)
	if indexes.ReplaceAllString(path, "") == wrong.Field {
		fault.Field = path
		if text != "" {
			fault.Value = text
		}
	}
	return fault
}

// expectation is what a value that decodes itself expects, as far as its error says it.
func expectation(err error) string {
	var wrong *json.UnmarshalTypeError
	switch text := err.Error(); {
	case errors.As(err, &wrong):
		return "expected " + describeType(wrong.Type)
	case strings.Contains(text, "duration"):
		return "expected a duration such as 30s"
	default:
		return text
	}
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// describeType names a Go type in the words of somebody who writes YAML.
func describeType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.Slice:
		return "a list"
	default:
		return "a mapping"
	}
}

// valueAt returns the path of the value that ends at, or contains, an offset of
// valid JSON, and its text if it is a scalar.
func valueAt(data []byte, offset int64) (path, text string) {
	type frame struct {
		array bool
		index int
		key   string
		// isKey is set if the next token of an object is a key.
		isKey bool
	}
	var stack []frame
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return "", ""
		}
		top := len(stack) - 1
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:top]
			continue
		}
		if top >= 0 && !stack[top].array && stack[top].isKey {
			stack[top].key, stack[top].isKey = token.(string), false
			continue
		}
		if top >= 0 {
			stack[top].index++
			stack[top].isKey = true
		}
		if decoder.InputOffset() >= offset {
			for _, f := range stack {
				if f.array {
					path += "[" + strconv.Itoa(f.index) + "]"
				} else {
					path = join(path, f.key)
				}
			}
			if _, ok := token.(json.Delim); !ok {
				text = fmt.Sprint(token)
			}
			return path, text
		}
		if delim, ok := token.(json.Delim); ok {
			stack = append(stack, frame{array: delim == '[', index: -1, isKey: true})
		}
	}
}

func join(path, field string) string {
	if path == "" || field == "" {
		return path + field
	}
	return path + "." + field
}
