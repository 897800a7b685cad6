package controlplane

import (
	"fmt"
	"io"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/settle"
)

// Reader is a source of random bytes.
type Reader = io.Reader

// ProxyConfig says how the nodes are configured.
type ProxyConfig struct {
	// ProxyConfigPath is a KubeProxyConfiguration file; empty means defaults.
	ProxyConfigPath string
	// Mode overrides the file's: "nftables", or empty.
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
		return nil, fmt.Errorf("reading the kube-proxy configuration: %w", err)
	}
	return content, nil
}

// decode returns the settings that a file's content stands for.
func (c ProxyConfig) decode(content []byte) (compile.Settings, []string, error) {
	config := proxyconfig.Config{Settings: compile.DefaultSettings()}
	if c.ProxyConfigPath != "" {
		var err error
		if config, err = proxyconfig.Decode(content); err != nil {
			return compile.Settings{}, nil, fmt.Errorf("kube-proxy configuration %s: %w", c.ProxyConfigPath, err)
		}
	}
	config.Settings.LocalhostNodePorts = c.LocalhostNodePorts
	switch c.Mode {
	case "":
	case "nftables":
		config.Settings.Mode = discoveryv1.ProxyMode_PROXY_MODE_NFTABLES
	case "ipvs":
		config.Settings.Mode = discoveryv1.ProxyMode_PROXY_MODE_IPVS
	default:
		return compile.Settings{}, nil, fmt.Errorf("--mode %q: expected nftables or ipvs", c.Mode)
	}
	return config.Settings, config.Warnings, nil
}
