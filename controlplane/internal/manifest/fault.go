package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// maxFaults bounds what is listed of one file.
const maxFaults = 10

// problem returns the fault for people; before is the number of lines before the
// document.
func (f fault) problem(file string, before int) model.Problem {
	message := "line " + strconv.Itoa(before+max(1, f.line)) + ": "
	if f.object != (id{}) {
		message += f.object.String() + ": "
	}
	return model.Problem{
		Object: "file " + file, Field: f.field, Value: f.value,
		Message: message + f.message + "; the last good state of what the file defines is kept",
	}
}

var syntaxLine = regexp.MustCompile(`line (\d+): ([^\n]*)`)

// syntaxFault takes the line out of a YAML parser's error text, the only place
// where it is.
func syntaxFault(err error) fault {
	match := syntaxLine.FindStringSubmatch(err.Error())
	if match == nil {
		text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
		return fault{message: "expected YAML or JSON: " + strings.TrimPrefix(text, "yaml: ")}
	}
	line, _ := strconv.Atoi(match[1])
	return fault{line: line, message: "expected YAML or JSON: " + match[2]}
}

// describe says where in the JSON a value of the wrong type is, what it is and
// what was expected.
func describe(data []byte, err error) (field, value, message string) {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return "", "", strings.TrimPrefix(err.Error(), "json: ")
	}
	field, value = mismatch.Field, mismatch.Value
	// The decoder's path lacks indexes. Its offset tells them, unless it counts
	// within a value that decodes itself.
	path, text := valueAt(data, mismatch.Offset)
	if indexes.ReplaceAllString(path, "") == mismatch.Field {
		field = path
		if text != "" {
			value = text
		}
	}
	return field, value, "expected " + describeType(mismatch.Type)
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

// lineOf returns the line of a field in a document, or that of its nearest parent
// that is there; 1 is the first.
func lineOf(text []byte, path string) int {
	var root yamlv3.Node
	if yamlv3.Unmarshal(text, &root) != nil || len(root.Content) == 0 {
		return 0
	}
	node := root.Content[0]
	line := node.Line
	for _, step := range pathStep.FindAllStringSubmatch(path, -1) {
		key, next := child(node, step[1], step[2])
		if next == nil {
			break
		}
		node, line = next, key.Line
	}
	return line
}

// pathStep matches a key or an index of a field's path.
var pathStep = regexp.MustCompile(`([^.\[\]]+)|\[(\d+)\]`)

// child returns a node's child by key or index, and the node whose line counts.
// The last of a repeated key is returned: it is the one that is too many.
func child(node *yamlv3.Node, key, index string) (at, value *yamlv3.Node) {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	if node.Kind == yamlv3.SequenceNode {
		i, err := strconv.Atoi(index + key)
		if err == nil && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
		return nil, nil
	}
	if node.Kind != yamlv3.MappingNode {
		return nil, nil
	}
	for i := len(node.Content) - 2; i >= 0; i -= 2 {
		if node.Content[i].Value == key {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}
