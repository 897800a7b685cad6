package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Where kubeadm puts kube-proxy's configuration.
const (
	proxyConfigMap = "kube-proxy"
	proxyConfigKey = "config.conf"
	// ProxyConfigurationPlace names it for people.
	ProxyConfigurationPlace = "ConfigMap " + metav1.NamespaceSystem + "/" + proxyConfigMap + ", " + proxyConfigKey
)

// askPatience is how long an API server has to answer somebody who waits for it.
const askPatience = 15 * time.Second

// ProxyConfiguration reads kube-proxy's configuration from a cluster. An empty path means
// the kubeconfig that kubectl would use.
func ProxyConfiguration(ctx context.Context, kubeconfig string) ([]byte, error) {
	client, err := personsClient(kubeconfig)
	if err != nil {
		return nil, err
	}
	return proxyConfiguration(ctx, client)
}

func proxyConfiguration(ctx context.Context, client kubernetes.Interface) ([]byte, error) {
	found, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, proxyConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster has no ConfigMap %s/%s: expected the one that kubeadm makes; import kube-proxy's file or flags instead", metav1.NamespaceSystem, proxyConfigMap)
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", metav1.NamespaceSystem, proxyConfigMap, err)
	}
	content, ok := found.Data[proxyConfigKey]
	if !ok {
		return nil, fmt.Errorf("ConfigMap %s/%s: expected a key %q; it has %q", metav1.NamespaceSystem, proxyConfigMap, proxyConfigKey, slices.Sorted(maps.Keys(found.Data)))
	}
	return []byte(content), nil
}
