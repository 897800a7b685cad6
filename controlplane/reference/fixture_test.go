package reference

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The tests look at node-a of a cluster of three. Its pods and those of the others
// are the endpoints that slices name by these short names.
var pods = map[string]struct{ v4, v6, node string }{
	"a1": {"10.244.1.21", "fd00:10:244:1::21", "node-a"},
	"a2": {"10.244.1.22", "fd00:10:244:1::22", "node-a"},
	"b1": {"10.244.2.31", "fd00:10:244:2::31", "node-b"},
	"b2": {"10.244.2.32", "fd00:10:244:2::32", "node-b"},
	"c1": {"10.244.3.41", "fd00:10:244:3::41", "node-c"},
}

var nodeA = Node{Name: "node-a", LocalAddresses: addresses("127.0.0.1 ::1 192.168.0.2 192.168.1.2 fd00:168::2 10.244.1.1")}

func addresses(text string) []netip.Addr {
	var all []netip.Addr
	for _, field := range strings.Fields(text) {
		all = append(all, netip.MustParseAddr(field))
	}
	return all
}

// state is what a row decides about.
type state struct {
	Cluster
	Config
}

type change func(*state)

func newState(changes ...change) state {
	s := state{
		Cluster: Cluster{
			Nodes: []corev1.Node{
				node("node-a", "zone-a", 1, "192.168.0.2", "fd00:168::2", "192.168.1.2"),
				node("node-b", "zone-a", 2, "192.168.0.3", "fd00:168::3"), node("node-c", "zone-b", 3, "192.168.0.4", "fd00:168::4"),
			},
			ServiceCIDRs: []networkingv1.ServiceCIDR{{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00:10:96::/112"}}}},
		},
		Config: Config{
			DetectLocal:  DetectClusterCIDR,
			ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")},
		},
	}
	for _, c := range changes {
		c(&s)
	}
	return s
}

func node(name, zone string, number int, internal ...string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	n.Spec.PodCIDRs = []string{fmt.Sprintf("10.244.%d.0/24", number), fmt.Sprintf("fd00:10:244:%d::/64", number)}
	for _, address := range internal {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
	}
	return n
}

type edit func(*corev1.Service)

// service adds the Service demo/web: 10.96.0.1, port http, 80/TCP.
func service(edits ...edit) change {
	return func(s *state) {
		w := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"}}
		w.Spec = corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports:      []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		}
		for _, e := range edits {
			e(&w)
		}
		s.Services = append(s.Services, w)
	}
}

func named(namespace, name, ip string) edit {
	return func(w *corev1.Service) {
		w.Namespace, w.Name, w.Spec.ClusterIP, w.Spec.ClusterIPs = namespace, name, ip, []string{ip}
	}
}

func dual(w *corev1.Service) {
	w.Spec.ClusterIPs = []string{w.Spec.ClusterIP, "fd00:10:96::1"}
	w.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

func single6(w *corev1.Service) { w.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }

func created(seconds int64) edit {
	return func(w *corev1.Service) { w.CreationTimestamp = metav1.Unix(seconds, 0) }
}

func ports(all ...corev1.ServicePort) edit {
	return func(w *corev1.Service) { w.Spec.Ports = all }
}

func port(name string, protocol corev1.Protocol, number, nodePort int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: protocol, Port: number, NodePort: nodePort}
}

func typed(t corev1.ServiceType) edit { return func(w *corev1.Service) { w.Spec.Type = t } }

func onNodePort(w *corev1.Service) { w.Spec.Type, w.Spec.Ports[0].NodePort = "NodePort", 30080 }

func balanced(ips ...string) edit {
	return func(w *corev1.Service) {
		onNodePort(w)
		w.Spec.Type = corev1.ServiceTypeLoadBalancer
		for _, ip := range ips {
			w.Status.LoadBalancer.Ingress = append(w.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}
}

func ranges(texts ...string) edit {
	return func(w *corev1.Service) { w.Spec.LoadBalancerSourceRanges = texts }
}

func external(ips ...string) edit { return func(w *corev1.Service) { w.Spec.ExternalIPs = ips } }

func externalLocal(w *corev1.Service) { w.Spec.ExternalTrafficPolicy = "Local" }

func internalLocal(w *corev1.Service) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	w.Spec.InternalTrafficPolicy = &local
}

func sticky(seconds int32) edit {
	return func(w *corev1.Service) {
		w.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		if seconds > 0 {
			w.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
		}
	}
}

func label(key string) edit {
	return func(w *corev1.Service) { w.Labels = map[string]string{key: "other"} }
}

type sliceEdit func(*discoveryv1.EndpointSlice)

// slice adds a slice of demo/web with port http, 8080/TCP. An endpoint is "a1",
// followed by words such as "unready", "terminating", "unserving", "zone=zone-a",
// "node=node-a", "homeless" (no nodeName) or "unknown" (no conditions).
func slice(endpoints []string, edits ...sliceEdit) change {
	return func(s *state) {
		name, protocol, number := "http", corev1.ProtocolTCP, int32(8080)
		d := discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "demo", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &number}},
		}
		for _, e := range edits {
			e(&d)
		}
		for _, text := range endpoints {
			d.Endpoints = append(d.Endpoints, parseEndpoint(text, d.AddressType))
		}
		s.Slices = append(s.Slices, d)
	}
}

func of(endpoints ...string) []string { return endpoints }

func parseEndpoint(text string, family discoveryv1.AddressType) discoveryv1.Endpoint {
	words := strings.Fields(text)
	yes, no := true, false
	e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no}}
	if p, ok := pods[words[0]]; ok {
		e.NodeName, e.Addresses = &p.node, []string{p.v4}
		if family == discoveryv1.AddressTypeIPv6 {
			e.Addresses = []string{p.v6}
		}
	} else if words[0] != "-" {
		e.Addresses = strings.Split(words[0], ",")
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if e.Hints == nil && value != "" {
			e.Hints = &discoveryv1.EndpointHints{}
		}
		switch key {
		case "unready":
			e.Conditions.Ready = &no
		case "unserving":
			e.Conditions.Serving = &no
		case "terminating":
			e.Conditions.Terminating = &yes
		case "unknown":
			e.Conditions = discoveryv1.EndpointConditions{}
		case "homeless":
			e.NodeName = nil
		case "zone":
			e.Hints.ForZones = append(e.Hints.ForZones, discoveryv1.ForZone{Name: value})
		case "node":
			e.Hints.ForNodes = append(e.Hints.ForNodes, discoveryv1.ForNode{Name: value})
		default:
			panic(word)
		}
	}
	return e
}

func v6(d *discoveryv1.EndpointSlice) { d.AddressType = discoveryv1.AddressTypeIPv6 }

func slicePort(name *string, protocol corev1.Protocol, number int32) sliceEdit {
	return func(d *discoveryv1.EndpointSlice) {
		d.Ports = []discoveryv1.EndpointPort{{Name: name, Protocol: &protocol, Port: &number}}
	}
}

func detect(d LocalDetector, name string) change {
	return func(s *state) { s.DetectLocal, s.Interface = d, name }
}

func nodePortAddresses(texts ...string) change {
	return func(s *state) { s.NodePortAddresses = texts }
}

// addressed gives node-a other addresses: "InternalIP 192.168.0.2".
func addressed(texts ...string) change {
	return func(s *state) {
		s.Nodes[0].Status.Addresses = nil
		for _, text := range texts {
			kind, address, _ := strings.Cut(text, " ")
			s.Nodes[0].Status.Addresses = append(s.Nodes[0].Status.Addresses, corev1.NodeAddress{Type: corev1.NodeAddressType(kind), Address: address})
		}
	}
}

// parsePacket reads "pod a1 tcp 10.96.0.1:80", "host …" or "outside …".
func parsePacket(text string) Packet {
	words := strings.Fields(text)
	p := Packet{From: Origin(words[0]), Protocol: corev1.Protocol(strings.ToUpper(words[2])), Destination: netip.MustParseAddrPort(words[3])}
	if p.From == FromPod {
		p.Interface = "cni0"
	}
	known, ok := pods[words[1]]
	switch {
	case !ok:
		p.Source = netip.MustParseAddr(words[1])
	case p.Destination.Addr().Is4():
		p.Source = netip.MustParseAddr(known.v4)
	default:
		p.Source = netip.MustParseAddr(known.v6)
	}
	return p
}

// String is the outcome with short names: "a1:8080 b1:8080 masquerade=yes".
func (o Outcome) String() string {
	switch {
	case !o.Handled:
		return "untouched"
	case o.Verdict != Accept:
		return string(o.Verdict)
	}
	var words []string
	for _, b := range o.Backends {
		name := b.Addr().String()
		for short, p := range pods {
			if p.v4 == name || p.v6 == name {
				name = short
			}
		}
		words = append(words, fmt.Sprintf("%s:%d", name, b.Port()))
	}
	slices.Sort(words)
	words = append(words, "masquerade="+string(o.Masquerade))
	if o.Sticky > 0 {
		words = append(words, "sticky="+o.Sticky.String())
	}
	return strings.Join(words, " ")
}
