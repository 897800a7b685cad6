package docs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// apiPage returns the page of reference of the protos in a directory, as Markdown: the
// comments of each service, method, message and field.
func apiPage(ctx context.Context, directory string) ([]byte, error) {
	var files []string
	err := fs.WalkDir(os.DirFS(directory), ".", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".proto" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for protos: %w", err)
	}
	slices.Sort(files)
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{directory}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, files...)
	if err != nil {
		return nil, fmt.Errorf("compiling protos: %w", err)
	}
	var page strings.Builder
	page.WriteString("# The gRPC API\n\nWhat the control plane serves, from the protos. [How to ask](../how-to/ask.md) has examples.\n\n" +
		"<!-- Made from the protos: in test/docs: go test . -run API -update -->\n")
	for _, file := range compiled {
		p := writer{&page, file.SourceLocations()}
		p.file(file)
	}
	return []byte(page.String()), nil
}

type writer struct {
	to        *strings.Builder
	locations protoreflect.SourceLocations
}

// comment returns what is said of something, as one paragraph.
func (w writer) comment(d protoreflect.Descriptor) string {
	at := w.locations.ByDescriptor(d)
	return strings.Join(strings.Fields(at.LeadingComments+" "+at.TrailingComments), " ")
}

func (w writer) file(file protoreflect.FileDescriptor) {
	fmt.Fprintf(w.to, "\n## %s\n", file.Package())
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		fmt.Fprintf(w.to, "\n### service %s\n\n%s\n\n| method | request | response | |\n|---|---|---|---|\n", service.Name(), w.comment(service))
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			fmt.Fprintf(w.to, "| `%s` | %s | %s | %s |\n", m.Name(), streamed(m.IsStreamingClient(), m.Input()), streamed(m.IsStreamingServer(), m.Output()), cell(w.comment(m)))
		}
	}
	for i := range file.Messages().Len() {
		w.message(file.Messages().Get(i))
	}
	for i := range file.Enums().Len() {
		enum := file.Enums().Get(i)
		fmt.Fprintf(w.to, "\n### enum %s\n\n%s\n\n| value | |\n|---|---|\n", enum.Name(), w.comment(enum))
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			fmt.Fprintf(w.to, "| `%s` = %d | %s |\n", value.Name(), value.Number(), cell(w.comment(value)))
		}
	}
}

func (w writer) message(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return
	}
	fmt.Fprintf(w.to, "\n### message %s\n", m.Name())
	if comment := w.comment(m); comment != "" {
		fmt.Fprintf(w.to, "\n%s\n", comment)
	}
	if m.Fields().Len() > 0 {
		w.to.WriteString("\n| field | type | |\n|---|---|---|\n")
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		fmt.Fprintf(w.to, "| `%s` = %d | %s | %s |\n", f.Name(), f.Number(), kind(f), cell(w.comment(f)))
	}
	for i := range m.Messages().Len() {
		w.message(m.Messages().Get(i))
	}
}

func streamed(is bool, m protoreflect.MessageDescriptor) string {
	if is {
		return "stream of " + string(m.Name())
	}
	return string(m.Name())
}

// kind is a field's type in words.
func kind(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.IsMap():
		return fmt.Sprintf("map of %s", f.MapValue().Kind())
	case f.Message() != nil:
		name = string(f.Message().Name())
	case f.Enum() != nil:
		name = string(f.Enum().Name())
	}
	if f.IsList() {
		return "repeated " + name
	}
	return name
}

// cell keeps a text from ending a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
