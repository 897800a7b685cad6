// Package cluster writes to an API server what controllers and kubelets would.
package cluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// TargetPort is where endpoints listen.
const TargetPort = 8080

// Cluster is a namespace of an API server.
type Cluster struct {
	client    kubernetes.Interface
	namespace string
}

// New makes the namespace.
func New(ctx context.Context, client kubernetes.Interface, namespace string) (*Cluster, error) {
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	return &Cluster{client, namespace}, err
}

// CreateNode creates a Node.
func (c *Cluster) CreateNode(ctx context.Context, name, ip, podCIDR string) error {
	node, err := c.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{PodCIDR: podCIDR, PodCIDRs: []string{podCIDR}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}}
	_, err = c.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// CreateService creates a Service with port 80 and returns it as the API server
// has completed it.
func (c *Cluster) CreateService(ctx context.Context, name string, kind corev1.ServiceType) (*corev1.Service, error) {
	return c.client.CoreV1().Services(c.namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
}

// DeleteService deletes a Service and its EndpointSlice.
func (c *Cluster) DeleteService(ctx context.Context, name string) error {
	if err := c.client.CoreV1().Services(c.namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return c.client.DiscoveryV1().EndpointSlices(c.namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// SetEndpoints makes the addresses the endpoints of a Service.
func (c *Cluster) SetEndpoints(ctx context.Context, service string, addresses ...string) error {
	slice := endpointSlice(service, addresses)
	api := c.client.DiscoveryV1().EndpointSlices(c.namespace)
	_, err := api.Update(ctx, slice, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(ctx, slice, metav1.CreateOptions{})
	}
	return err
}

func endpointSlice(service string, addresses []string) *discoveryv1.EndpointSlice {
	port := int32(TargetPort)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new(string), Port: &port}},
	}
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return slice
}
