package property

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/controlplane/reference"
)

// here is the node that packets come to.
const here = "node-a"

func nodeObject(name, zone string, number int) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	n.Spec.PodCIDRs = []string{fmt.Sprintf("10.244.%d.0/24", number), fmt.Sprintf("fd00:10:244:%d::/64", number)}
	for _, address := range []string{fmt.Sprintf("192.168.0.%d", number+1), fmt.Sprintf("fd00:168::%d", number+1)} {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
	}
	return n
}

func serviceCIDR() *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
		Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00:96::/112"}}}
}

// names are the Services. Each has its own addresses and node ports, and now and then
// claims those of the other.
var names = []string{"one", "two"}

// claimed draws whose addresses a Service claims: mostly its own.
func claimed(t *rapid.T, label, name string) int {
	if rapid.IntRange(0, 7).Draw(t, "claims the "+label+" of the other") == 0 {
		return len(names) + 1 - number(name)
	}
	return number(name)
}

// created draws when a Service was created. No two Services are of the same age: among
// those who has an address keeps it, which no rule knows of.
func created(t *rapid.T, name string) metav1.Time {
	return metav1.Date(2020+2*sample(t, "created", 0, 1)+number(name), time.January, 1, 0, 0, 0, 0, time.UTC)
}

func number(name string) int {
	for i, n := range names {
		if n == name {
			return i + 1
		}
	}
	return 0
}

func sample[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

// randomEdit draws an edit of one Service, one of its slices, or a Node.
func randomEdit(t *rapid.T) (set, deleted []metav1.Object) {
	name := sample(t, "service", names...)
	switch sample(t, "edit", "service", "service", "slice", "slice", "slice", "delete", "zone", "cidr") {
	case "service":
		return []metav1.Object{randomService(t, name)}, nil
	case "slice":
		return []metav1.Object{randomSlice(t, name)}, nil
	case "zone":
		return []metav1.Object{nodeObject(here, sample(t, "zone", "zone-a", "zone-b", ""), 1)}, nil
	case "cidr":
		if sample(t, "cidr gone", true, false) {
			return nil, []metav1.Object{serviceCIDR()}
		}
		return []metav1.Object{serviceCIDR()}, nil
	default:
		if sample(t, "deletes the service", true, false) {
			return nil, []metav1.Object{&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name}}}
		}
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: sliceName(t, name)}}
		return nil, []metav1.Object{slice}
	}
}

func randomService(t *rapid.T, name string) *corev1.Service {
	n := claimed(t, "ClusterIPs", name)
	v4, v6 := fmt.Sprintf("10.96.0.%d", n), fmt.Sprintf("fd00:96::%d", n)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, CreationTimestamp: created(t, name)}}
	s.Spec.Type = sample(t, "type", corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)
	switch sample(t, "families", "v4", "v4", "v6", "both", "headless") {
	case "v4":
		s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies = v4, []string{v4}, []corev1.IPFamily{corev1.IPv4Protocol}
	case "v6":
		s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies = v6, []string{v6}, []corev1.IPFamily{corev1.IPv6Protocol}
	case "both":
		s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies = v4, []string{v4, v6}, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	default:
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}
	if sample(t, "second port", true, false) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 80})
	}
	if s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		n := claimed(t, "node ports", name)
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(30000 + n*10 + i)
		}
	}
	local, cluster := corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster
	s.Spec.ExternalTrafficPolicy = sample(t, "external policy", local, cluster)
	internal := sample(t, "internal policy", corev1.ServiceInternalTrafficPolicyLocal, corev1.ServiceInternalTrafficPolicyCluster)
	s.Spec.InternalTrafficPolicy = &internal
	if sample(t, "external IPs", true, false) {
		n := claimed(t, "external IPs", name)
		s.Spec.ExternalIPs = []string{fmt.Sprintf("198.51.100.2%d", n), "", "not an address", fmt.Sprintf("2001:db8::2%d", n)}
		if sample(t, "external IPs of the ServiceCIDR", true, false) {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, fmt.Sprintf("10.96.0.2%d", n), fmt.Sprintf("fd00:96::2%d", n))
		}
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		randomBalancer(t, s, claimed(t, "load balancer", name))
	}
	if sample(t, "sticky", true, false) {
		seconds := int32(600)
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	s.Annotations = sample(t, "weights", nil, nil,
		map[string]string{"portolan.net/weights": "10.244.1.21=0,10.244.2.31=3,fd00:10:244:1::21=0"},
		map[string]string{"portolan.net/weights": "node/node-a=0 10.244.1.22=1 pod/32=0"},
		map[string]string{"portolan.net/weights": "pod/21=70000,pod/22=0,node/node-b=0,pod/31=2,nobody"})
	if rapid.IntRange(0, 9).Draw(t, "another proxy's") == 0 {
		s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "other"}
	}
	return s
}

func randomBalancer(t *rapid.T, s *corev1.Service, n int) {
	proxy := corev1.LoadBalancerIPModeProxy
	ingress := []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("198.51.100.1%d", n)}, {IP: fmt.Sprintf("2001:db8::1%d", n)}, {Hostname: "lb.example"}}
	if sample(t, "IP mode proxy", true, false, false) {
		ingress[0].IPMode = &proxy
	}
	s.Status.LoadBalancer.Ingress = ingress[:rapid.IntRange(0, 3).Draw(t, "ingress")]
	if rapid.IntRange(0, 3).Draw(t, "a balancer of the ServiceCIDR") == 0 {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: fmt.Sprintf("10.96.0.1%d", n)})
	}
	s.Spec.LoadBalancerSourceRanges = sample(t, "ranges", nil, []string{"203.0.113.0/25"}, []string{" 192.168.0.0/24"}, []string{"2001:db8:f::/48"}, []string{"0.0.0.0/0"})
}

func sliceName(t *rapid.T, service string) string {
	return service + "-" + sample(t, "slice", "1", "2", "6")
}

// endpointPool has addresses on this node, on the other, and one that moves.
var endpointPool = []struct{ v4, v6, node string }{
	{"10.244.1.21", "fd00:10:244:1::21", here}, {"10.244.1.22", "fd00:10:244:1::22", here},
	{"10.244.2.31", "fd00:10:244:2::31", "node-b"}, {"10.244.2.32", "fd00:10:244:2::32", "node-b"}, {"10.244.3.41", "fd00:10:244:3::41", ""},
	// Nobody may be sent to these: a ClusterIP, if it is one, and what is none of a pod's.
	{"10.96.0.1", "fd00:96::1", ""}, {"100.100.100.200", "fd00:ec2::254", "node-b"}, {"224.0.0.1", "ff05::1", here},
}

func randomSlice(t *rapid.T, service string) *discoveryv1.EndpointSlice {
	name := sliceName(t, service)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "demo", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if name[len(name)-1] == '6' {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	if rapid.IntRange(0, 9).Draw(t, "headless") == 0 {
		s.Labels[corev1.IsHeadlessService] = ""
	}
	for _, p := range []struct {
		name     string
		protocol corev1.Protocol
	}{{"http", sample(t, "protocol", corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP)}, {"dns", corev1.ProtocolUDP}, {"other", corev1.ProtocolTCP}} {
		if rapid.IntRange(0, 3).Draw(t, "has "+p.name) > 0 {
			number := sample(t, "number", int32(8080), 8081)
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &p.name, Protocol: &p.protocol, Port: &number})
		}
	}
	hinted := rapid.IntRange(0, 3).Draw(t, "hinted")
	// An endpoint is in one of a Service's slices: of duplicates that differ in more
	// than conditions, no rule says which decides.
	pool := endpointPool
	if name[len(name)-1] == '1' {
		pool = endpointPool[:2]
	} else if name[len(name)-1] == '2' {
		pool = endpointPool[2:]
	}
	for _, e := range pool {
		if rapid.IntRange(0, 3).Draw(t, "has endpoint") > 0 {
			s.Endpoints = append(s.Endpoints, randomEndpoint(t, e.v4, e.v6, e.node, s.AddressType, hinted))
		}
	}
	return s
}

func randomEndpoint(t *rapid.T, v4, v6, node string, family discoveryv1.AddressType, hinted int) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{v4}}
	if family == discoveryv1.AddressTypeIPv6 {
		e.Addresses = []string{v6}
	}
	if node != "" {
		e.NodeName = &node
	}
	if sample(t, "is a pod", true, false) {
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: v4[len(v4)-2:]}
	}
	e.Conditions = discoveryv1.EndpointConditions{
		Ready:       sample(t, "ready", nil, ptr(true), ptr(true), ptr(false)),
		Serving:     sample(t, "serving", nil, ptr(true), ptr(false)),
		Terminating: sample(t, "terminating", nil, ptr(true), ptr(false)),
	}
	if hinted > 0 {
		e.Hints = &discoveryv1.EndpointHints{}
		if hinted&1 != 0 {
			e.Hints.ForZones = []discoveryv1.ForZone{{Name: sample(t, "zone hint", "zone-a", "zone-b")}}
		}
		if hinted&2 != 0 {
			e.Hints.ForNodes = []discoveryv1.ForNode{{Name: sample(t, "node hint", here, "node-b")}}
		}
	}
	return e
}

func ptr[T any](v T) *T { return &v }

// sources are where packets come from, in both families.
var sources = []reference.Packet{
	{From: reference.FromPod, Source: netip.MustParseAddr("10.244.1.10"), Interface: "cni0"},
	{From: reference.FromPod, Source: netip.MustParseAddr("10.244.1.21"), Interface: "cni0"},
	{From: reference.FromHost, Source: netip.MustParseAddr("192.168.0.2")},
	{From: reference.FromHost, Source: netip.MustParseAddr("198.51.100.11")}, // The balancer's address, which this node holds.
	{From: reference.FromOutside, Source: netip.MustParseAddr("203.0.113.2"), Interface: "eth0"},
	{From: reference.FromOutside, Source: netip.MustParseAddr("203.0.113.200"), Interface: "eth0"},
	{From: reference.FromPod, Source: netip.MustParseAddr("fd00:10:244:1::10"), Interface: "cni0"},
	{From: reference.FromHost, Source: netip.MustParseAddr("fd00:168::2")},
	{From: reference.FromOutside, Source: netip.MustParseAddr("2001:db8:f::2"), Interface: "eth0"},
}

// packets returns packets from everywhere to every address that could be served.
func packets() []reference.Packet {
	var list []reference.Packet
	for _, source := range sources {
		for _, destination := range destinations() {
			if destination.Addr().Is6() != source.Source.Is6() {
				continue
			}
			for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
				p := source
				p.Destination, p.Protocol = destination, protocol
				list = append(list, p)
			}
		}
	}
	return list
}

func destinations() []netip.AddrPort {
	var list []netip.AddrPort
	add := func(text string) { list = append(list, netip.MustParseAddrPort(text)) }
	for n := range len(names) + 1 {
		for _, port := range []int{80, 81} {
			add(fmt.Sprintf("10.96.0.%d:%d", n+1, port))
			add(fmt.Sprintf("[fd00:96::%d]:%d", n+1, port))
			add(fmt.Sprintf("10.96.0.1%d:%d", n+1, port))
			add(fmt.Sprintf("10.96.0.2%d:%d", n+1, port))
			add(fmt.Sprintf("[fd00:96::2%d]:%d", n+1, port))
			add(fmt.Sprintf("198.51.100.1%d:%d", n+1, port))
			add(fmt.Sprintf("198.51.100.2%d:%d", n+1, port))
			add(fmt.Sprintf("[2001:db8::1%d]:%d", n+1, port))
			add(fmt.Sprintf("[2001:db8::2%d]:%d", n+1, port))
		}
		for i := range 2 {
			for _, node := range []string{"192.168.0.2", "192.168.1.2", "192.168.0.3", "10.244.1.1", "[fd00:168::2]", "127.0.0.1"} {
				add(fmt.Sprintf("%s:%d", node, 30000+(n+1)*10+i))
			}
		}
	}
	add("10.244.1.21:8080")
	return list
}
