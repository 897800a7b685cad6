package configuration

import (
	"errors"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

// Imported is kube-proxy's configuration as our own.
type Imported struct {
	// File is the configuration as a file.
	File []byte
	// Items say what became of each field or flag.
	Items []proxyconfig.Item
	// Warnings are about the whole.
	Warnings []string
}

// Import imports a file of kube-proxy's.
func Import(content []byte) (*Imported, error) {
	kind, err := kindOf(content)
	if err != nil {
		return nil, err
	}
	if kind == v1alpha1.Kind {
		return nil, errors.New("is Portolan's own configuration already: expected kind KubeProxyConfiguration")
	}
	imported, err := proxyconfig.FromFile(content)
	if err != nil {
		return nil, err
	}
	return finish(imported)
}

// ImportFlags imports a command line of kube-proxy's.
func ImportFlags(args []string) (*Imported, error) {
	imported, err := proxyconfig.FromFlags(args)
	if err != nil {
		return nil, err
	}
	return finish(imported)
}

// finish checks what was imported, and writes it.
func finish(imported *proxyconfig.Import) (*Imported, error) {
	file := of(imported)
	_, warnings, faults := resolve(file.config)
	if len(faults) > 0 {
		return nil, file.errors(faults)
	}
	written, err := Encode(file.config)
	return &Imported{File: written, Items: imported.Items, Warnings: file.said(warnings)}, err
}
