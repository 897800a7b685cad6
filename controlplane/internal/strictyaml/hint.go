package strictyaml

import (
	"reflect"
	"strings"

	"github.com/portolan-net/portolan/controlplane/internal/near"
)

// hint suggests what an unknown field may have been meant to be: a field of the same
// mapping, or one of the same name elsewhere.
func hint(into any, path string) string {
	parent, name := split(path)
	root := reflect.TypeOf(into)
	if at := typeAt(root, parent); at != nil {
		if here := near.Names(name, fieldsOf(at)); len(here) > 0 {
			return near.Hint(name, here)
		}
	}
	var elsewhere []string
	for _, other := range paths(root, "", 0) {
		if _, last := split(other); strings.EqualFold(last, name) {
			elsewhere = append(elsewhere, other)
		}
	}
	return near.Hint(name, elsewhere)
}

// split returns the path of the mapping that a field is in, and the field's name.
func split(path string) (parent, name string) {
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
		return path[:dot], path[dot+1:]
	}
	return "", path
}

// typeAt returns the struct at a path, or nil.
func typeAt(t reflect.Type, path string) reflect.Type {
	t = structOf(t)
	for _, step := range pathStep.FindAllStringSubmatch(path, -1) {
		if step[1] == "" {
			continue // An index: structOf went to the elements.
		}
		if t == nil {
			return nil
		}
		field, ok := fieldNamed(t, step[1])
		if !ok {
			return nil
		}
		t = structOf(field.Type)
	}
	return t
}

// structOf returns the struct that a type is, points to or is a list of, or nil.
func structOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, field := range reflect.VisibleFields(t) {
		if jsonName(field) == name {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

// fieldsOf returns the names of a struct's fields.
func fieldsOf(t reflect.Type) []string {
	var names []string
	for _, field := range reflect.VisibleFields(t) {
		if name := jsonName(field); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// paths returns the paths of all fields, not going into lists: what is in one has no
// path before somebody writes it.
func paths(t reflect.Type, prefix string, depth int) []string {
	const deepest = 4 // Types may contain themselves.
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || depth > deepest {
		return nil
	}
	var all []string
	for _, field := range reflect.VisibleFields(t) {
		if name := jsonName(field); name != "" {
			all = append(all, prefix+name)
			all = append(all, paths(field.Type, prefix+name+".", depth+1)...)
		}
	}
	return all
}

// jsonName is empty for a field that has no name of its own.
func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "-" || !field.IsExported() {
		return ""
	}
	return name
}
