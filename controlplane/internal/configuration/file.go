package configuration

import (
	"errors"
	"fmt"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

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
	data, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return "", strictyaml.Syntax(err)
	}
	var header struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(data, &header); err != nil {
		return "", fmt.Errorf("expected a mapping with apiVersion %q or %q", v1alpha1.APIVersion, kubeVersion)
	}
	known := map[string]string{
		v1alpha1.APIVersion + ", " + v1alpha1.Kind: v1alpha1.Kind,
		kubeVersion + ", " + proxyconfig.Kind:      proxyconfig.Kind,
	}
	found := header.APIVersion + ", " + header.Kind
	if kind := known[found]; kind != "" {
		return kind, nil
	}
	var names []string
	for name := range known {
		names = append(names, name)
	}
	return "", fmt.Errorf("apiVersion %q, kind %q: expected %q, %q or %q, %q%s", header.APIVersion, header.Kind,
		v1alpha1.APIVersion, v1alpha1.Kind, kubeVersion, proxyconfig.Kind, near.Hint(found, names))
}

// errors joins faults.
func (f *file) errors(faults []*strictyaml.Fault) error {
	var all []error
	for _, fault := range faults {
		fault.Field = f.name(fault.Field)
		if f.text != nil {
			fault.Line = strictyaml.LineOf(f.text, fault.Field)
		}
		all = append(all, fault)
	}
	return errors.Join(all...)
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
