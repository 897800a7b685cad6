package kube

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// strip drops what package objects does not read, so that the initial state of a
// large cluster, which is held for a moment, is small. It changes the object.
func strip(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Service:
		o.ObjectMeta = stripMeta(o.ObjectMeta, objects.LabelProxyName)
		o.Spec.Selector = nil
		o.Status = corev1.ServiceStatus{LoadBalancer: o.Status.LoadBalancer}
	case *discoveryv1.EndpointSlice:
		o.ObjectMeta = stripMeta(o.ObjectMeta, discoveryv1.LabelServiceName, objects.LabelHeadless)
		for i := range o.Endpoints {
			stripEndpoint(&o.Endpoints[i])
		}
	case *corev1.Node:
		labels, deleted := o.Labels, o.DeletionTimestamp
		o.ObjectMeta = stripMeta(o.ObjectMeta)
		o.Labels, o.DeletionTimestamp = labels, deleted
		o.Spec = corev1.NodeSpec{PodCIDR: o.Spec.PodCIDR, PodCIDRs: o.Spec.PodCIDRs, Taints: o.Spec.Taints}
		o.Status = corev1.NodeStatus{Addresses: o.Status.Addresses}
	case *networkingv1.ServiceCIDR:
		o.ObjectMeta = stripMeta(o.ObjectMeta)
		o.Status = networkingv1.ServiceCIDRStatus{}
	}
	return object, nil
}

func stripEndpoint(e *discoveryv1.Endpoint) {
	e.Hostname, e.DeprecatedTopology = nil, nil
	if e.TargetRef != nil {
		e.TargetRef = &corev1.ObjectReference{Kind: e.TargetRef.Kind, Name: e.TargetRef.Name}
	}
	if len(e.Addresses) > 1 {
		e.Addresses = e.Addresses[:1:1]
	}
}

// stripMeta keeps what identifies and orders objects, the labels, and the
// annotations that are read.
func stripMeta(m metav1.ObjectMeta, labels ...string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID,
		ResourceVersion: m.ResourceVersion, CreationTimestamp: m.CreationTimestamp,
		Labels:      keep(m.Labels, labels...),
		Annotations: keep(m.Annotations, objects.AnnotationScheduler, objects.AnnotationWeights, objects.AnnotationTriggered),
	}
}

func keep(from map[string]string, keys ...string) map[string]string {
	var kept map[string]string
	for _, key := range keys {
		if value, ok := from[key]; ok {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
		}
	}
	return kept
}
