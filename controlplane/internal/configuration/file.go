package configuration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/near"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// kubeVersion is the apiVersion of kube-proxy's configuration.
var kubeVersion = kubeproxyv1alpha1.SchemeGroupVersion.String()

// file is what a file, or a command line, says in Portolan's own terms.
type file struct {
	config   v1alpha1.Configuration
	warnings []string
	// text is nil of a command line.
	text []byte
	// name returns what the file calls one of our fields.
	name func(own string) string
}

// read reads a file of either kind; no content is an empty one of our own.
func read(content []byte) (*file, error) {
	own := &file{text: content, name: func(own string) string { return own }}
	if content == nil {
		return own, nil
	}
	kind, err := kindOf(content)
	if err != nil {
		return nil, err
	}
	if kind == v1alpha1.Kind {
		return own, strictyaml.Decode(content, &own.config)
	}
	imported, err := proxyconfig.FromFile(content)
	if err != nil {
		return nil, err
	}
	return of(imported), nil
}

// of returns the file that was imported.
func of(imported *proxyconfig.Import) *file {
	return &file{config: imported.Configuration, warnings: imported.Warnings(), text: imported.Text, name: imported.Name}
}

// kindOf tells the two kinds of files apart, by apiVersion too.
func kindOf(content []byte) (string, error) {
	data, err := strictyaml.ToJSON(content)
	if err != nil {
		return "", err
	}
	var header struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	expected := fmt.Sprintf("expected apiVersion %s and kind %s, or %s and %s", v1alpha1.APIVersion, v1alpha1.Kind, kubeVersion, proxyconfig.Kind)
	if string(data) == "null" {
		return "", &strictyaml.Fault{Message: "the file is empty: " + expected}
	}
	// A header of another type is one that is not known.
	_ = json.Unmarshal(data, &header)
	kinds := map[string]string{v1alpha1.Kind: v1alpha1.APIVersion, proxyconfig.Kind: kubeVersion}
	version := kinds[header.Kind]
	switch {
	case data[0] != '{':
		return "", &strictyaml.Fault{Line: 1, Message: "no mapping: " + expected}
	case header.APIVersion == "" && header.Kind == "":
		return "", &strictyaml.Fault{Line: 1, Message: "no apiVersion and kind: " + expected}
	case version == "":
		return "", &strictyaml.Fault{Line: strictyaml.LineOf(content, "kind"), Field: "kind", Value: header.Kind, Message: expected,
			Hint: near.Hint(header.Kind, slices.Collect(maps.Keys(kinds)))}
	case version != header.APIVersion:
		return "", &strictyaml.Fault{Line: strictyaml.LineOf(content, "apiVersion"), Field: "apiVersion", Value: header.APIVersion, Message: expected,
			Hint: near.Hint(header.APIVersion, slices.Collect(maps.Values(kinds)))}
	}
	return header.Kind, nil
}

// errors joins faults.
func (f *file) errors(faults []*strictyaml.Fault) error {
	for _, fault := range faults {
		fault.Field = f.name(fault.Field)
		if f.text != nil {
			fault.Line = strictyaml.LineOf(f.text, fault.Field)
		}
	}
	return strictyaml.Join(faults)
}

// said returns warnings as lines. Much of what they are about is not in the file, so
// they have no line numbers.
func (f *file) said(warnings []*strictyaml.Fault) []string {
	var lines []string
	for _, warning := range warnings {
		warning.Field = f.name(warning.Field)
		lines = append(lines, warning.Error())
	}
	return lines
}
