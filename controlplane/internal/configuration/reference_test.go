package configuration

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

var update = flag.Bool("update", false, "write the tables of docs/reference/configuration.md")

const (
	page  = "../../../docs/reference/configuration.md"
	types = "../../../api/config/v1alpha1/types.go"
)

// TestReferenceIsUpToDate: the tables of the reference page are made from the types, their
// comments, their defaults and what is made of kube-proxy's fields and flags.
func TestReferenceIsUpToDate(t *testing.T) {
	before, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	comments := readComments(t)
	after := between(t, string(before), "fields", fieldTable(t, comments))
	after = between(t, after, "kube-proxy", kubeProxyTable())
	if *update {
		if err := os.WriteFile(page, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(before), after); diff != "" {
		t.Errorf("the page is not up to date: go test ./controlplane/internal/configuration -run Reference -update\n%s", diff)
	}
}

// between puts a table between the marks of that name.
func between(t *testing.T, text, name, table string) string {
	t.Helper()
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	head, rest, found := strings.Cut(text, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("the page has no marks %q and %q", begin, end)
	}
	return head + begin + table + end + tail
}

// readComments returns the comment of each field, by "Type.Field".
func readComments(t *testing.T) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), types, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range fields.Fields.List {
				for _, name := range field.Names {
					comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
		return true
	})
	return comments
}

// described is a field for the table.
type described struct {
	path, meaning string
	kind          reflect.Type
}

// describe lists the fields of a struct, with a list's as "nodes[].name". What nodes can
// have of their own is not listed again.
func describe(t *testing.T, of reflect.Type, prefix string, comments map[string]string) []described {
	t.Helper()
	var all []described
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous {
			if prefix == "" {
				all = append(all, describe(t, field.Type, prefix, comments)...)
			}
			continue
		}
		meaning := comments[of.Name()+"."+field.Name]
		if meaning == "" {
			t.Errorf("%s.%s has no comment", of.Name(), field.Name)
		}
		inner, path := field.Type, prefix+name
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
			if inner.Kind() == reflect.Struct {
				path += "[]"
			}
		}
		all = append(all, described{path, meaning, field.Type})
		if inner.Kind() == reflect.Struct && strings.Count(path, ".") < 2 {
			all = append(all, describe(t, inner, path+".", comments)...)
		}
	}
	return all
}

func fieldTable(t *testing.T, comments map[string]string) string {
	encoded, err := Encode(v1alpha1.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yamlv3.Unmarshal(encoded, &defaults); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| field | default | meaning | in kube-proxy |\n|---|---|---|---|\n")
	for _, field := range describe(t, reflect.TypeFor[v1alpha1.Configuration](), "", comments) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", field.path, defaultOf(defaults, field), field.meaning, strings.Join(inKubeProxy(field.path), ", "))
	}
	return b.String()
}

// defaultOf is empty for a mapping, whose fields have their own.
func defaultOf(defaults map[string]any, field described) string {
	var value any = defaults
	for _, step := range strings.Split(field.path, ".") {
		inner, _ := value.(map[string]any)
		value = inner[step]
	}
	switch {
	case value == nil && field.kind.Kind() == reflect.Struct:
		return ""
	case value == nil:
		return "none"
	}
	if _, isMapping := value.(map[string]any); isMapping {
		return ""
	}
	return fmt.Sprintf("`%v`", value)
}

// inKubeProxy lists the fields and flags that become one of ours.
func inKubeProxy(own string) []string {
	var list []string
	for _, field := range proxyconfig.Fields {
		if field.Own == own {
			list = append(list, "`"+field.Path+"`")
			list = append(list, flagsOf(field.Path)...)
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// flagsOf lists the flags that set a field of kube-proxy's, one in it, or all around it.
func flagsOf(path string) []string {
	var list []string
	for _, f := range proxyconfig.Flags {
		for _, set := range []string{f.Path, f.IPVSPath} {
			if set != "" && (strings.HasPrefix(set+".", path+".") || strings.HasPrefix(path, set+".")) {
				list = append(list, "`--"+f.Name+"`")
			}
		}
	}
	return list
}

func kubeProxyTable() string {
	var b strings.Builder
	b.WriteString("| field | flags | becomes | |\n|---|---|---|---|\n")
	for _, field := range proxyconfig.Fields {
		becomes, note := "ignored", "it "+field.Why
		if field.Own != "" {
			becomes, note = "`"+field.Own+"`", ""
		}
		if field.Unless != "" {
			note = "else it " + field.Unless
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", field.Path, strings.Join(flagsOf(field.Path), ", "), becomes, note)
	}
	for _, f := range proxyconfig.Flags {
		if f.Path == "" {
			fmt.Fprintf(&b, "| | `--%s` | ignored | it %s |\n", f.Name, f.Why)
		}
	}
	return b.String()
}
