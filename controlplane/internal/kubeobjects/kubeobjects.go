// Package kubeobjects turns the model back into the Kubernetes objects that it was
// read from, as far as they say what becomes of traffic. It is the inverse of package
// objects, for what speaks of objects and not of the model. It is pure.
package kubeobjects

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// Service returns the object of a Service. Its type is the least that has what the
// Service has.
func Service(in *model.Service) corev1.Service {
	out := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: in.Namespace, Name: in.Name, CreationTimestamp: metav1.NewTime(in.Created)},
		Spec: corev1.ServiceSpec{
			Type: serviceType(in), ExternalIPs: texts(in.ExternalIPs), ClusterIPs: texts(in.ClusterIPs),
			ExternalTrafficPolicy:    corev1.ServiceExternalTrafficPolicy(policy(in.External)),
			LoadBalancerSourceRanges: texts(in.SourceRanges),
			HealthCheckNodePort:      int32(in.HealthCheckNodePort),
		},
	}
	internal := corev1.ServiceInternalTrafficPolicy(policy(in.Internal))
	out.Spec.InternalTrafficPolicy = &internal
	for _, addr := range in.ClusterIPs {
		out.Spec.IPFamilies = append(out.Spec.IPFamilies, family(addr.Is6()))
	}
	if len(in.ClusterIPs) > 0 {
		out.Spec.ClusterIP = out.Spec.ClusterIPs[0]
	}
	for _, p := range in.Ports {
		out.Spec.Ports = append(out.Spec.Ports, corev1.ServicePort{
			Name: p.Name, Protocol: corev1.Protocol(p.Protocol.String()), Port: int32(p.Port), NodePort: int32(p.NodePort),
		})
	}
	for _, addr := range in.LoadBalancerIPs {
		out.Status.LoadBalancer.Ingress = append(out.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: addr.String()})
	}
	setAffinity(&out.Spec, in.AffinityTimeout)
	annotate(&out, objects.AnnotationScheduler, in.Scheduler)
	annotate(&out, objects.AnnotationWeights, weights(in.Weights))
	return out
}

func setAffinity(spec *corev1.ServiceSpec, timeout time.Duration) {
	if timeout == 0 {
		return
	}
	seconds := int32(timeout / time.Second)
	spec.SessionAffinity = corev1.ServiceAffinityClientIP
	spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
}

func annotate(out *corev1.Service, annotation, value string) {
	if value == "" {
		return
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations[annotation] = value
}

// weights returns the annotation's value.
func weights(in *model.Weights) string {
	if in == nil {
		return ""
	}
	var entries []string
	for addr, weight := range in.Addresses {
		entries = append(entries, fmt.Sprintf("%s=%d", addr, weight))
	}
	for pod, weight := range in.Pods {
		entries = append(entries, fmt.Sprintf("pod/%s=%d", pod, weight))
	}
	for node, weight := range in.Nodes {
		entries = append(entries, fmt.Sprintf("node/%s=%d", node, weight))
	}
	slices.Sort(entries)
	return strings.Join(entries, ",")
}

func serviceType(in *model.Service) corev1.ServiceType {
	if len(in.LoadBalancerIPs) > 0 || in.HealthCheckNodePort != 0 {
		return corev1.ServiceTypeLoadBalancer
	}
	for _, p := range in.Ports {
		if p.NodePort != 0 {
			return corev1.ServiceTypeNodePort
		}
	}
	return corev1.ServiceTypeClusterIP
}

// policy is the same word for internal and external traffic.
func policy(p model.TrafficPolicy) string {
	if p == model.Local {
		return string(corev1.ServiceExternalTrafficPolicyLocal)
	}
	return string(corev1.ServiceExternalTrafficPolicyCluster)
}

func family(is6 bool) corev1.IPFamily {
	if is6 {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// Slice returns the object of an EndpointSlice.
func Slice(in *model.Slice) discoveryv1.EndpointSlice {
	out := discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: in.Namespace, Name: in.Name, Labels: map[string]string{discoveryv1.LabelServiceName: in.Service}},
		AddressType: discoveryv1.AddressType(family(in.Is6)),
	}
	for _, p := range in.Ports {
		protocol, number := corev1.Protocol(p.Protocol.String()), int32(p.Port)
		out.Ports = append(out.Ports, discoveryv1.EndpointPort{Name: &p.Name, Protocol: &protocol, Port: &number})
	}
	for i := range in.Endpoints {
		out.Endpoints = append(out.Endpoints, endpoint(&in.Endpoints[i]))
	}
	return out
}

func endpoint(in *model.Endpoint) discoveryv1.Endpoint {
	out := discoveryv1.Endpoint{
		Addresses:  []string{in.Addr.String()},
		Conditions: discoveryv1.EndpointConditions{Ready: &in.Ready, Serving: &in.Serving, Terminating: &in.Terminating},
		NodeName:   present(in.Node), Zone: present(in.Zone),
	}
	if in.Pod != "" {
		out.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: in.Pod}
	}
	if len(in.ZoneHints)+len(in.NodeHints) == 0 {
		return out
	}
	out.Hints = &discoveryv1.EndpointHints{}
	for _, zone := range in.ZoneHints {
		out.Hints.ForZones = append(out.Hints.ForZones, discoveryv1.ForZone{Name: zone})
	}
	for _, node := range in.NodeHints {
		out.Hints.ForNodes = append(out.Hints.ForNodes, discoveryv1.ForNode{Name: node})
	}
	return out
}

// Node returns the object of a Node.
func Node(in *model.Node) corev1.Node {
	out := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: in.Name, Labels: in.Labels}, Spec: corev1.NodeSpec{PodCIDRs: texts(in.PodCIDRs)}}
	for _, addr := range in.IPs {
		out.Status.Addresses = append(out.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: addr.String()})
	}
	return out
}

// ServiceCIDR returns the object of a ServiceCIDR.
func ServiceCIDR(in *model.ServiceCIDR) networkingv1.ServiceCIDR {
	return networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: in.Name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: texts(in.CIDRs)}}
}

func texts[T fmt.Stringer](in []T) []string {
	var list []string
	for _, v := range in {
		list = append(list, v.String())
	}
	return list
}

// present is nil for an empty text.
func present(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
