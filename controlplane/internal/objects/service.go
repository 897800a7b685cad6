package objects

import (
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/near"
)

const (
	// LabelProxyName marks a Service of another proxy, whatever its value.
	LabelProxyName = "service.kubernetes.io/service-proxy-name"
	// AnnotationScheduler asks for an IPVS scheduler.
	AnnotationScheduler = "portolan.net/scheduler"

	// maxAffinityTimeout is the API's bound on affinity, in seconds.
	maxAffinityTimeout = 86400
)

// Service reads a Service. Headless Services, ExternalNames, Services of another
// proxy and Services without any ClusterIP are not proxied.
func Service(in *corev1.Service) (*model.Service, []model.Problem, error) {
	key := model.Key{Namespace: in.Namespace, Name: in.Name}
	if !proxied(in) {
		return nil, nil, nil
	}
	r := &report{object: ServiceName(key)}
	out := &model.Service{
		Key:        key,
		Created:    in.CreationTimestamp.UTC(),
		ClusterIPs: clusterIPs(r, &in.Spec),
	}
	if len(out.ClusterIPs) == 0 && len(r.fatal) == 0 {
		return nil, nil, nil
	}
	out.Ports = servicePorts(r, &in.Spec)
	out.ExternalIPs = externalIPs(r, out, in.Spec.ExternalIPs)
	out.LoadBalancerIPs = loadBalancerIPs(r, out, in.Status.LoadBalancer.Ingress)
	out.SourceRanges = sourceRanges(r, in.Spec.LoadBalancerSourceRanges)
	out.AffinityTimeout = affinityTimeout(r, &in.Spec)
	out.Internal = internalPolicy(r, &in.Spec)
	out.External = externalPolicy(r, &in.Spec)
	out.HealthCheckNodePort = healthCheckNodePort(r, out, &in.Spec)
	out.Scheduler = scheduler(r, in.Annotations[AnnotationScheduler])
	out.Weights = weights(r, in.Annotations[AnnotationWeights])
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return out, r.problems(), nil
}

func proxied(in *corev1.Service) bool {
	if _, other := in.Labels[LabelProxyName]; other {
		return false
	}
	if in.Spec.Type == corev1.ServiceTypeExternalName {
		return false
	}
	return in.Spec.ClusterIP != "" && in.Spec.ClusterIP != corev1.ClusterIPNone
}

func hasNodePorts(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer
}

func servicePorts(r *report, spec *corev1.ServiceSpec) []model.Port {
	// A slice's port finds its Service port by name and protocol, a packet by
	// number and protocol: neither may be ambiguous.
	type number struct {
		protocol model.Protocol
		port     uint16
	}
	type name struct {
		protocol model.Protocol
		name     string
	}
	numbers, names := map[number]int{}, map[name]int{}
	var ports []model.Port
	for i, p := range spec.Ports {
		field := index("spec.ports", i)
		port := model.Port{
			Name:     p.Name,
			Protocol: protocol(r, field+".protocol", p.Protocol),
			Port:     portNumber(r, field+".port", p.Port),
		}
		if hasNodePorts(spec) && p.NodePort != 0 {
			port.NodePort = portNumber(r, field+".nodePort", p.NodePort)
		}
		if first, taken := numbers[number{port.Protocol, port.Port}]; taken {
			r.fail(field+".port", strconv.Itoa(int(p.Port)), "expected each port and protocol once, but %s has it", index("spec.ports", first))
		}
		if first, taken := names[name{port.Protocol, port.Name}]; taken {
			r.fail(field+".name", p.Name, "expected each name once, but %s has it", index("spec.ports", first))
		}
		numbers[number{port.Protocol, port.Port}], names[name{port.Protocol, port.Name}] = i, i
		ports = append(ports, port)
	}
	return ports
}

func affinityTimeout(r *report, spec *corev1.ServiceSpec) time.Duration {
	switch spec.SessionAffinity {
	case "", corev1.ServiceAffinityNone:
		return 0
	case corev1.ServiceAffinityClientIP:
	default:
		r.fail("spec.sessionAffinity", string(spec.SessionAffinity), "expected None or ClientIP")
		return 0
	}
	config := spec.SessionAffinityConfig
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second
	}
	seconds := *config.ClientIP.TimeoutSeconds
	if seconds < 1 || seconds > maxAffinityTimeout {
		r.fail("spec.sessionAffinityConfig.clientIP.timeoutSeconds", strconv.Itoa(int(seconds)), "expected 1 to %d seconds", maxAffinityTimeout)
	}
	return time.Duration(seconds) * time.Second
}

func internalPolicy(r *report, spec *corev1.ServiceSpec) model.TrafficPolicy {
	if spec.InternalTrafficPolicy == nil {
		return model.Cluster
	}
	return trafficPolicy(r, "spec.internalTrafficPolicy", string(*spec.InternalTrafficPolicy))
}

// externalPolicy ignores the field where nothing outside can reach the Service.
func externalPolicy(r *report, spec *corev1.ServiceSpec) model.TrafficPolicy {
	policy := trafficPolicy(r, "spec.externalTrafficPolicy", string(spec.ExternalTrafficPolicy))
	if !hasNodePorts(spec) && len(spec.ExternalIPs) == 0 {
		return model.Cluster
	}
	return policy
}

func trafficPolicy(r *report, field, value string) model.TrafficPolicy {
	switch value {
	case "", string(corev1.ServiceExternalTrafficPolicyCluster):
		return model.Cluster
	case string(corev1.ServiceExternalTrafficPolicyLocal):
		return model.Local
	default:
		r.fail(field, value, "expected Cluster or Local")
		return model.Cluster
	}
}

func healthCheckNodePort(r *report, out *model.Service, spec *corev1.ServiceSpec) uint16 {
	if spec.Type != corev1.ServiceTypeLoadBalancer || out.External != model.Local || spec.HealthCheckNodePort == 0 {
		return 0
	}
	return portNumber(r, "spec.healthCheckNodePort", spec.HealthCheckNodePort)
}

// scheduler lets only those through that the kernel has: a node could not make a
// virtual server with another.
func scheduler(r *report, value string) string {
	name := strings.TrimSpace(value)
	if name == "" || slices.Contains(resource.Schedulers, name) {
		return name
	}
	r.skip("metadata.annotations["+AnnotationScheduler+"]", shorten(name), "expected an IPVS scheduler, one of %s%s; the node's default is used",
		strings.Join(resource.Schedulers, " "), near.Hint(shorten(name), resource.Schedulers))
	return ""
}

func portNumber(r *report, field string, number int32) uint16 {
	if number < 1 || number > 65535 {
		r.fail(field, strconv.Itoa(int(number)), "expected a port from 1 to 65535")
		return 0
	}
	return uint16(number)
}

func protocol(r *report, field string, value corev1.Protocol) model.Protocol {
	switch value {
	case "", corev1.ProtocolTCP:
		return model.TCP
	case corev1.ProtocolUDP:
		return model.UDP
	case corev1.ProtocolSCTP:
		return model.SCTP
	default:
		r.fail(field, string(value), "expected TCP, UDP or SCTP")
		return 0
	}
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// shorten keeps what a person needs of a value that anybody could have written.
func shorten(value string) string {
	const enough = 64
	if len(value) <= enough {
		return value
	}
	return strings.ToValidUTF8(value[:enough], "") + "…"
}

// appendNew appends to a short list what it does not have yet.
func appendNew[T comparable](list []T, value T) []T {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}
