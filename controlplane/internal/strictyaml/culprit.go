package strictyaml

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

var (
	decodesJSON = reflect.TypeFor[json.Unmarshaler]()
	decodesText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// culprit returns the path and text of a value that decodes itself, such as a duration,
// and does not: the decoder does not tell which one that is.
func culprit(t reflect.Type, data json.RawMessage, path string) (string, string, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(decodesJSON) || p.Implements(decodesText) {
		return path, scalar(data), json.Unmarshal(data, reflect.New(t).Interface()) != nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return culpritField(t, data, path)
	case reflect.Slice:
		return culpritItem(t, data, path)
	default:
		return "", "", false
	}
}

func culpritItem(t reflect.Type, data json.RawMessage, path string) (string, string, bool) {
	var items []json.RawMessage
	_ = json.Unmarshal(data, &items) // What is no list is not the culprit.
	for i, item := range items {
		if at, text, found := culprit(t.Elem(), item, fmt.Sprintf("%s[%d]", path, i)); found {
			return at, text, true
		}
	}
	return "", "", false
}

func culpritField(t reflect.Type, data json.RawMessage, path string) (string, string, bool) {
	var values map[string]json.RawMessage
	_ = json.Unmarshal(data, &values) // What is no mapping is not the culprit.
	for _, field := range reflect.VisibleFields(t) {
		name := jsonName(field)
		value, set := values[name]
		if name == "" || !set {
			continue
		}
		if at, text, found := culprit(field.Type, value, join(path, name)); found {
			return at, text, true
		}
	}
	return "", "", false
}

// scalar returns a value as people write it.
func scalar(data json.RawMessage) string {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return text
	}
	return string(data)
}
