package controlplane

import (
	"context"

	"github.com/portolan-net/portolan/controlplane/internal/configuration"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

type (
	// ImportedConfig is kube-proxy's configuration as Portolan's own.
	ImportedConfig = configuration.Imported
	// ImportedItem is what became of a field or flag of kube-proxy's.
	ImportedItem = proxyconfig.Item
)

// ImportConfig imports the content of a KubeProxyConfiguration file, which errors name.
func ImportConfig(name string, content []byte) (*ImportedConfig, error) {
	imported, err := configuration.Import(content)
	if err != nil {
		return nil, configError{name, err}
	}
	return imported, nil
}

// ImportFlags imports the flags of a kube-proxy.
func ImportFlags(args []string) (*ImportedConfig, error) { return configuration.ImportFlags(args) }

// ClusterProxyConfig reads the configuration of a cluster's kube-proxy from where kubeadm
// puts it, and returns what that place is called. An empty path means the kubeconfig
// that kubectl would use.
func ClusterProxyConfig(ctx context.Context, kubeconfig string) (content []byte, place string, err error) {
	content, err = kube.ProxyConfiguration(ctx, kubeconfig)
	return content, kube.ProxyConfigurationPlace, err
}
