package controlplane

import (
	"fmt"
	"io"
	"strings"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/configuration"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/settle"
)

// Reader is a source of random bytes.
type Reader = io.Reader

// ProxyConfig says how the nodes are configured.
type ProxyConfig struct {
	// ProxyConfigPath is a file, a portolan.net/v1alpha1 Configuration or a
	// KubeProxyConfiguration; empty means defaults.
	ProxyConfigPath string
	// Mode overrides the file's: "nftables", "ipvs", or empty.
	Mode string
	// LocalhostNodePorts has agents serve node ports on loopback addresses too.
	LocalhostNodePorts bool
}

// DefaultMaxServicePorts is how many ports a Service may have by default.
const DefaultMaxServicePorts = admission.DefaultPortsPerService

// DefaultMaxServiceEndpoints is how many endpoints a Service may have by default,
// counted once for each port that they serve.
const DefaultMaxServiceEndpoints = round.DefaultMaxServiceEndpoints

// DefaultMaxStreams is how many streams may be open by default.
const DefaultMaxStreams = discovery.DefaultMaxStreams

// settings returns the nodes' settings and what in the file has no effect.
func (c ProxyConfig) settings() (compile.Settings, []string, error) {
	content, err := c.read()
	if err != nil {
		return compile.Settings{}, nil, err
	}
	return c.decode(content)
}

// read returns the file's content; nil means defaults.
func (c ProxyConfig) read() ([]byte, error) {
	if c.ProxyConfigPath == "" {
		return nil, nil
	}
	content, _, err := settle.Read(c.ProxyConfigPath)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return content, nil
}

// decode returns the settings that a file's content stands for.
func (c ProxyConfig) decode(content []byte) (compile.Settings, []string, error) {
	overrides := configuration.Overrides{Mode: c.Mode, LocalhostNodePorts: c.LocalhostNodePorts}
	if err := overrides.Check(); err != nil {
		return compile.Settings{}, nil, err
	}
	config, err := configuration.Decode(content, overrides)
	if err != nil && c.ProxyConfigPath != "" {
		err = configError{c.ProxyConfigPath, err}
	}
	return config.Settings, config.Warnings, err
}

// configError is what is wrong with a configuration file.
type configError struct {
	path string
	err  error
}

// Error implements error, with the file's name in each line.
func (e configError) Error() string {
	prefix := "configuration " + e.path + ": "
	return prefix + strings.ReplaceAll(e.err.Error(), "\n", "\n"+prefix)
}

// Unwrap returns the error without the file's name.
func (e configError) Unwrap() error { return e.err }
