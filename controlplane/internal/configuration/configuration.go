package configuration

import (
	"fmt"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
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
	return Config{Settings: settings, Warnings: append(file.warnings, file.said(warnings)...)}, nil
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
