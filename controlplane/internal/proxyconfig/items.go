package proxyconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
)

// Outcome is what becomes of a field.
type Outcome string

// What becomes of a field.
const (
	// Honoured is a field that ours has under the same name.
	Honoured Outcome = "honoured"
	// Mapped is a field that ours has under another name, or as another value.
	Mapped Outcome = "mapped"
	// Ignored is a field without effect.
	Ignored Outcome = "ignored"
	// Default is a field that is not set and has a value all the same: kube-proxy's
	// default for it is not ours.
	Default Outcome = "default"
)

// Item is a field or flag that is set, and what becomes of it.
type Item struct {
	Field   string  `json:"field"`
	Value   string  `json:"value"`
	Outcome Outcome `json:"outcome"`
	// To is our field and value; empty if it is ignored. Value is empty of a default.
	To string `json:"to,omitempty"`
	// Note says why, or what to do instead.
	Note string `json:"note,omitempty"`

	// about is the field of the table, which stands for all that is in it.
	about string
}

func (i *Import) item(set leaf) Item {
	field := find(set.path)
	if field == nil { // Of a newer kube-proxy's types; a test says so first.
		field = &Field{Path: set.path, Why: "is not known to this version"}
	}
	item := Item{Field: set.path, Value: set.value, about: field.Path}
	if field.Path == "featureGates" {
		item.about = set.path
	}
	if i.flags != nil {
		item.Field, item.about = i.flags[set.path], i.flags[set.path]
	}
	if !field.effective(i.file) {
		item.Outcome, item.Note = Ignored, field.Why+field.Unless
		return item
	}
	item.Outcome, item.To = Mapped, field.Own+": "+i.ours(field.Own)
	switch {
	case set.path == "mode" && set.value == iptables:
		item.Note = "Portolan has no iptables data plane; nftables is used"
	case set.path == field.Own:
		item.Outcome = Honoured
	}
	return item
}

// defaulted lists what the configuration has for fields that are not set.
func (i *Import) defaulted() []Item {
	written := tree(i.Configuration)
	var items []Item
	for j := range Fields {
		field := &Fields[j]
		if !field.effective(i.file) || lookup(written, field.Own) == nil || field.Path == "detectLocalMode" && i.file.DetectLocalMode != "" {
			continue
		}
		if !slices.ContainsFunc(i.Items, func(item Item) bool { return item.Outcome != Ignored && strings.HasPrefix(item.To, field.Own+": ") }) {
			items = append(items, Item{Field: i.called(field.Path), Outcome: Default, To: field.Own + ": " + i.ours(field.Own), Note: "kube-proxy's default", about: field.Path})
		}
	}
	return items
}

// called returns the name of the flag that sets a field, of flags, else the field's.
func (i *Import) called(path string) string {
	if i.flags == nil {
		return path
	}
	for j := range Flags {
		if Flags[j].Path == path {
			return "--" + Flags[j].Name
		}
	}
	return path
}

// ours returns the value of one of our fields, as it is written or by default.
func (i *Import) ours(path string) string {
	for _, config := range []v1alpha1.Configuration{i.Configuration, v1alpha1.Defaults()} {
		if value := lookup(tree(config), path); value != nil {
			return text(value)
		}
	}
	return ""
}

// leaf is a field with its value as people write it.
type leaf struct {
	path, value string
	// zero is set if that is what it has when it is left out, unless 0 is a choice.
	zero bool
}

// leaves lists the fields that a file sets, in the order of the type. null and the empty
// text set nothing.
func leaves(t reflect.Type, content map[string]any, prefix string) []leaf {
	var list []leaf
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		value := content[name]
		if value == nil || value == "" || name == "apiVersion" || name == "kind" {
			continue
		}
		inner, isMapping := value.(map[string]any)
		switch {
		case isMapping && field.Type.Kind() == reflect.Struct:
			list = append(list, leaves(field.Type, inner, prefix+name+".")...)
		case isMapping:
			for _, key := range slices.Sorted(maps.Keys(inner)) {
				list = append(list, leaf{path: prefix + name + "." + key, value: text(inner[key])})
			}
		default:
			value := text(value)
			list = append(list, leaf{prefix + name, value, slices.Contains([]string{"false", "0", "0s", ""}, value)})
		}
	}
	return list
}

// tree returns what a configuration sets as nested mappings.
func tree(config v1alpha1.Configuration) map[string]any {
	encoded, err := json.Marshal(config)
	if err != nil {
		panic(fmt.Sprintf("a configuration is not JSON: %v", err))
	}
	return parse(encoded)
}

// parse returns a JSON object with numbers as they are written, or nothing.
func parse(data []byte) map[string]any {
	var content map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	_ = decoder.Decode(&content) // What is wrong with it has been said.
	return content
}

// lookup returns the value at a path, or nil.
func lookup(content map[string]any, path string) any {
	parent, rest, nested := strings.Cut(path, ".")
	if !nested {
		return content[path]
	}
	inner, _ := content[parent].(map[string]any)
	return lookup(inner, rest)
}

// text returns a value as people write it: lists as "a,b".
func text(value any) string {
	list, isList := value.([]any)
	if !isList {
		return fmt.Sprint(value)
	}
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = fmt.Sprint(item)
	}
	return strings.Join(texts, ",")
}
