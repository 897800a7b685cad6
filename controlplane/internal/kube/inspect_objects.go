package kube

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Objects are what Portolan computes from.
type Objects struct {
	Services     []corev1.Service
	Slices       []discoveryv1.EndpointSlice
	ServiceCIDRs []networkingv1.ServiceCIDR
}

// Objects lists them; no ServiceCIDRs where the API server has none.
func (i *Inspector) Objects(ctx context.Context) (*Objects, error) {
	var all Objects
	err := pages(ctx, i.client.CoreV1().Services(metav1.NamespaceAll).List, func(l *corev1.ServiceList) { all.Services = append(all.Services, l.Items...) })
	if err == nil {
		err = pages(ctx, i.client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List, func(l *discoveryv1.EndpointSliceList) { all.Slices = append(all.Slices, l.Items...) })
	}
	if err == nil {
		err = pages(ctx, i.client.NetworkingV1().ServiceCIDRs().List, func(l *networkingv1.ServiceCIDRList) { all.ServiceCIDRs = append(all.ServiceCIDRs, l.Items...) })
		if apierrors.IsNotFound(err) {
			err = nil
		}
	}
	return &all, err
}

// Nodes lists the Nodes.
func (i *Inspector) Nodes(ctx context.Context) (all []corev1.Node, err error) {
	err = pages(ctx, i.client.CoreV1().Nodes().List, func(l *corev1.NodeList) { all = append(all, l.Items...) })
	return all, err
}

// pages reads a list page by page.
func pages[L interface {
	runtime.Object
	metav1.ListInterface
}](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), take func(L)) error {
	for options := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := list(ctx, options)
		if err != nil {
			return err
		}
		take(page)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// Namespace returns a Namespace, or nil if there is none.
func (i *Inspector) Namespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	return orNone(i.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}))
}

// ConfigMap returns what a ConfigMap has, or nil if there is none.
func (i *Inspector) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return orNone(i.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{}))
}

// DaemonSet returns a DaemonSet, or nil if there is none.
func (i *Inspector) DaemonSet(ctx context.Context, namespace, name string) (*appsv1.DaemonSet, error) {
	return orNone(i.client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{}))
}

// Deployment returns a Deployment, or nil if there is none.
func (i *Inspector) Deployment(ctx context.Context, namespace, name string) (*appsv1.Deployment, error) {
	return orNone(i.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{}))
}

// DisruptionBudget returns a PodDisruptionBudget, or nil if there is none.
func (i *Inspector) DisruptionBudget(ctx context.Context, namespace, name string) (*policyv1.PodDisruptionBudget, error) {
	return orNone(i.client.PolicyV1().PodDisruptionBudgets(namespace).Get(ctx, name, metav1.GetOptions{}))
}

func orNone[T any](found *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil // That there is none is an answer.
	}
	return found, err
}

// ProxyConfiguration reads kube-proxy's configuration from where kubeadm puts it.
func (i *Inspector) ProxyConfiguration(ctx context.Context) ([]byte, error) {
	return proxyConfiguration(ctx, i.client)
}
