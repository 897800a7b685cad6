package configuration

import (
	"errors"
	"fmt"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/near"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// Config is a configuration file as settings.
type Config struct {
	Settings compile.Settings
	// Warnings say what has no effect, and why.
	Warnings []string
}

// Overrides are what a command line says, whatever a file does.
type Overrides struct {
	// Mode is the mode of all nodes, if not empty.
	Mode string
	// LocalhostNodePorts has all nodes serve node ports on loopback addresses too.
	LocalhostNodePorts bool
}

// Decode decodes a file of either kind. No content stands for the defaults.
func Decode(content []byte, overrides Overrides) (Config, error) {
	file, err := read(content)
	if err != nil {
		return Config{}, err
	}
	overrides.apply(&file.config)
	settings, warnings, faults := resolve(file.config)
	if len(faults) > 0 {
		return Config{}, file.errors(faults)
	}
	for _, warning := range warnings {
		warning.Field = file.name(warning.Field)
		file.warnings = append(file.warnings, warning.Error())
	}
	return Config{Settings: settings, Warnings: file.warnings}, nil
}

// Check returns what is wrong with what was imported.
func Check(imported *proxyconfig.Import) error {
	_, _, faults := resolve(imported.Configuration)
	return (&file{text: imported.Text, name: imported.Name}).errors(faults)
}

// file is what a file says, in Portolan's own terms.
type file struct {
	config   v1alpha1.Configuration
	warnings []string
	text     []byte
	// name returns what the file calls one of our fields.
	name func(own string) string
}

func read(content []byte) (*file, error) {
	own := &file{text: content, name: func(own string) string { return own }}
	if content == nil {
		return own, nil
	}
	switch version, kind, err := header(content); {
	case err != nil:
		return nil, err
	case version == v1alpha1.APIVersion && kind == v1alpha1.Kind:
		return own, strictyaml.Decode(content, &own.config)
	case version == kubeproxyv1alpha1.SchemeGroupVersion.String() && kind == proxyconfig.Kind:
		imported, err := proxyconfig.FromFile(content)
		if err != nil {
			return nil, err
		}
		return &file{config: imported.Configuration, warnings: imported.Warnings(), text: content, name: imported.Name}, nil
	default:
		return nil, unknown(version, kind)
	}
}

// header reads what says how to read the rest.
func header(content []byte) (version, kind string, err error) {
	var h struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	data, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return "", "", strictyaml.Syntax(err)
	}
	if err := yaml.Unmarshal(data, &h); err != nil {
		return "", "", &strictyaml.Fault{Message: fmt.Sprintf("expected a mapping with apiVersion %q or %q", v1alpha1.APIVersion, kubeproxyv1alpha1.SchemeGroupVersion)}
	}
	return h.APIVersion, h.Kind, nil
}

func unknown(version, kind string) error {
	kube := kubeproxyv1alpha1.SchemeGroupVersion.String()
	hint := near.Hint(version+", "+kind, []string{v1alpha1.APIVersion + ", " + v1alpha1.Kind, kube + ", " + proxyconfig.Kind})
	return fmt.Errorf("apiVersion %q, kind %q: expected %q, %q or %q, %q%s", version, kind, v1alpha1.APIVersion, v1alpha1.Kind, kube, proxyconfig.Kind, hint)
}

// Check returns what is wrong with the command line.
func (o Overrides) Check() error {
	if o.Mode == "" || isMode(v1alpha1.Mode(o.Mode)) {
		return nil
	}
	return fmt.Errorf("--mode %q: expected %s", o.Mode, modeNames)
}

// apply puts what the command line says in the place of what a file does.
func (o Overrides) apply(config *v1alpha1.Configuration) {
	if o.Mode != "" {
		config.Mode = v1alpha1.Mode(o.Mode)
		for i := range config.Nodes {
			config.Nodes[i].Mode = ""
		}
	}
	if o.LocalhostNodePorts {
		config.LocalhostNodePorts = &o.LocalhostNodePorts
		for i := range config.Nodes {
			config.Nodes[i].LocalhostNodePorts = nil
		}
	}
}

// errors joins faults.
func (f *file) errors(faults []*strictyaml.Fault) error {
	var all []error
	for _, fault := range faults {
		all = append(all, f.locate(fault))
	}
	return errors.Join(all...)
}

// locate gives a fault the name and line that its field has in the file.
func (f *file) locate(fault *strictyaml.Fault) *strictyaml.Fault {
	fault.Field = f.name(fault.Field)
	if f.text != nil {
		fault.Line = strictyaml.LineOf(f.text, fault.Field)
	}
	return fault
}
