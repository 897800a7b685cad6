package scenario

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/controlplane/reference"
)

// addObjects adds the objects of a file to a cluster.
func addObjects(data []byte, to *reference.Cluster) error {
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		if err := addObject([]byte(document), to); err != nil {
			return fmt.Errorf("%w in:\n%s", err, document)
		}
	}
	return nil
}

func addObject(document []byte, to *reference.Cluster) error {
	var meta *metav1.TypeMeta
	if err := yaml.Unmarshal(document, &meta); err != nil {
		return err
	}
	if meta == nil {
		return nil // nothing but comments
	}
	switch meta.Kind {
	case "Service":
		return appendObject[corev1.Service](document, &to.Services)
	case "EndpointSlice":
		return appendObject[discoveryv1.EndpointSlice](document, &to.Slices)
	case "Node":
		return appendObject[corev1.Node](document, &to.Nodes)
	case "ServiceCIDR":
		return appendObject[networkingv1.ServiceCIDR](document, &to.ServiceCIDRs)
	default:
		return fmt.Errorf("kind %q: expected Service, EndpointSlice, Node or ServiceCIDR", meta.Kind)
	}
}

func appendObject[T any](document []byte, to *[]T) error {
	var object T
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return err
	}
	*to = append(*to, object)
	return nil
}

// parseConfig reads what the reference model wants of a KubeProxyConfiguration.
func parseConfig(data []byte) (reference.Config, error) {
	var proxy kubeproxy.KubeProxyConfiguration
	if err := yaml.UnmarshalStrict(data, &proxy); err != nil {
		return reference.Config{}, err
	}
	config := reference.Config{
		NodePortAddresses: proxy.NodePortAddresses,
		DetectLocal:       reference.LocalDetector(proxy.DetectLocalMode),
		Interface:         proxy.DetectLocal.BridgeInterface + proxy.DetectLocal.InterfaceNamePrefix,
		MasqueradeAll:     proxy.NFTables.MasqueradeAll,
	}
	if enabled, ok := proxy.FeatureGates["AllowServiceExternalIPs"]; ok {
		config.IgnoreExternalIPs = !enabled
	}
	if config.DetectLocal == "" {
		config.DetectLocal = reference.DetectClusterCIDR
	}
	for text := range strings.SplitSeq(proxy.ClusterCIDR, ",") {
		if text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return config, err
		}
		config.ClusterCIDRs = append(config.ClusterCIDRs, prefix)
	}
	return config, nil
}
