package reference

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

const (
	kept    = " masquerade=no"
	masked  = " masquerade=yes"
	hairpin = " masquerade=hairpin-only"
)

func ptr[T any](v T) *T { return &v }

func TestRules(t *testing.T) {
	all := []change{service(), slice(of("a1", "b1", "c1"))}
	with := func(edits ...edit) []change { return []change{service(edits...), slice(of("a1", "b1"))} }
	plus := func(changes []change, more ...change) []change {
		return append(changes[:len(changes):len(changes)], more...)
	}
	elsewhere := func(edits ...edit) []change { return []change{service(edits...), slice(of("b1", "c1"))} }
	none := func(edits ...edit) []change { return []change{service(edits...)} }
	toWeb, toPort, toVIP := " tcp 10.96.0.1:80", " tcp 192.168.0.2:30080", " tcp 198.51.100.10:80"
	another := service(named("demo", "another", "10.96.0.2"), ports(port("http", "TCP", 81, 0)))
	noServiceCIDR := func(s *state) { s.ServiceCIDRs = nil }
	const pod, host, outside = "pod a2", "host 192.168.0.2", "outside 203.0.113.2"

	for _, row := range []struct {
		rule   string
		state  []change
		packet string
		want   string
	}{
		{"S1", all, pod + toWeb, "a1:8080 b1:8080 c1:8080" + kept},
		{"S2", all, "pod a1" + toWeb, "a1:8080 b1:8080 c1:8080" + hairpin},
		{"S4 TCP", with(ports(port("http", "TCP", 53, 0), port("dns", "UDP", 53, 0))), pod + " tcp 10.96.0.1:53", "a1:8080 b1:8080" + kept},
		{"S4 UDP", plus(with(ports(port("http", "TCP", 53, 0), port("dns", "UDP", 53, 0))), slice(of("c1"), slicePort(ptr("dns"), "UDP", 5353))), pod + " udp 10.96.0.1:53", "c1:5353" + kept},
		{"S4 TCP is the default", with(ports(port("http", "", 80, 0))), pod + toWeb, "a1:8080 b1:8080" + kept},
		{"S5", all, pod + " udp 10.96.0.1:80", "reject"},
		{"S6", all, pod + " tcp 10.96.0.1:8080", "reject"},
		{"S6 node port", with(onNodePort), outside + " tcp 10.96.0.1:30080", "reject"},
		{"S7", all, pod + " tcp 10.96.9.9:80", "drop"},
		{"S7 node's own address", plus(all, func(s *state) { s.ServiceCIDRs[0].Spec.CIDRs = []string{"192.168.0.0/24"} }), pod + " tcp 192.168.0.2:80", "untouched"},
		{"S8 unowned", plus(all, func(s *state) { s.ServiceCIDRs = nil }), pod + " tcp 10.96.9.9:80", "untouched"},
		{"S8 undeclared", plus(all, func(s *state) { s.ServiceCIDRs = nil }), pod + " tcp 10.96.0.1:81", "reject"},
		{"S9", plus(all, func(s *state) {
			s.ServiceCIDRs = append(s.ServiceCIDRs, networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.97.0.0/24"}}})
		}), pod + " tcp 10.97.0.9:80", "drop"},
		{"S10", all, host + toWeb, "a1:8080 b1:8080 c1:8080" + masked},
		{"S11", all, outside + toWeb, "a1:8080 b1:8080 c1:8080" + masked},
		{"S12", plus(all, service(named("other", "web", "10.96.0.2"))), pod + " tcp 10.96.0.2:80", "reject"},

		{"S13", with(onNodePort), outside + toPort, "a1:8080 b1:8080" + masked},
		{"S14 IPv6", []change{service(onNodePort, dual), slice(of("b1"), v6)}, outside6 + " tcp [fd00:168::2]:30080", "b1:8080" + masked},
		{"S13 left over on type ClusterIP", with(ports(port("http", "TCP", 80, 30080))), outside + toPort, "untouched"},
		{"S14 by name", plus(with(onNodePort), nodePortAddresses("primary")), outside + toPort, "a1:8080 b1:8080" + masked},
		{"S14 by name, secondary", plus(with(onNodePort), nodePortAddresses("primary")), outside + " tcp 192.168.1.2:30080", "untouched"},
		{"S14 no ExternalIP before an InternalIP", plus(with(onNodePort), addressed("ExternalIP 192.168.1.2", "InternalIP 192.168.0.2")), outside + toPort, "a1:8080 b1:8080" + masked},
		{"S14 ExternalIP alone", plus(with(onNodePort), addressed("ExternalIP 192.168.0.2")), outside + toPort, "a1:8080 b1:8080" + masked},
		{"S14 secondary", with(onNodePort), outside + " tcp 192.168.1.2:30080", "untouched"},
		{"S15", plus(with(onNodePort), nodePortAddresses("192.168.1.0/24")), outside + " tcp 192.168.1.2:30080", "a1:8080 b1:8080" + masked},
		{"S15 outside of the list", plus(with(onNodePort), nodePortAddresses("192.168.1.0/24")), outside + toPort, "untouched"},
		{"S15 loopback", plus(with(onNodePort), nodePortAddresses("127.0.0.0/8")), "host 127.0.0.1 tcp 127.0.0.1:30080", "untouched"},
		{"S16 none of the family", plus(with(onNodePort), nodePortAddresses("fd00::/16")), outside + " tcp 10.244.1.1:30080", "a1:8080 b1:8080" + masked},
		{"S16 zero length", plus(with(onNodePort), nodePortAddresses("0.0.0.0/0")), outside + " tcp 192.168.1.2:30080", "a1:8080 b1:8080" + masked},
		{"S17", with(onNodePort), pod + " tcp 10.244.1.1:30080", "untouched"},
		{"S18", plus(with(onNodePort), nodePortAddresses("0.0.0.0/0")), "host 127.0.0.1 tcp 127.0.0.1:30080", "untouched"},
		{"S19", plus(with(onNodePort), service(named("demo", "dns", "10.96.0.2"), typed("NodePort"), ports(port("dns", "UDP", 53, 30080)))), outside + " udp 192.168.0.2:30080", "reject"},
		{"S20", with(onNodePort), pod + " tcp 192.168.0.3:30080", "untouched"},
		{"S20 all addresses", plus(with(onNodePort), nodePortAddresses("0.0.0.0/0")), pod + " tcp 192.168.0.3:30080", "untouched"},
		{"S21", plus(with(onNodePort), service(named("demo", "exact", "10.96.0.2"), external("192.168.0.2"), ports(port("http", "TCP", 30080, 0)))), outside + toPort, "reject"},

		{"S23 outside", with(balanced("198.51.100.10")), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S23 pod", with(balanced("198.51.100.10")), pod + toVIP, "a1:8080 b1:8080" + masked},
		{"S24", with(balanced("198.51.100.10"), func(w *corev1.Service) {
			w.Status.LoadBalancer.Ingress[0].IPMode = ptr(corev1.LoadBalancerIPModeProxy)
		}), pod + toVIP, "untouched"},
		{"S24 an unknown mode", with(balanced("198.51.100.10"), func(w *corev1.Service) {
			w.Status.LoadBalancer.Ingress[0].IPMode = ptr(corev1.LoadBalancerIPMode("Tunnel"))
		}), pod + toVIP, "untouched"},
		{"S25", with(balanced(), func(w *corev1.Service) {
			w.Spec.LoadBalancerIP = "198.51.100.10"
			w.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example"}}
		}), pod + toVIP, "untouched"},
		{"S26", with(balanced("198.51.100.9", "198.51.100.10")), pod + toVIP, "a1:8080 b1:8080" + masked},
		{"S27 VIP", with(balanced("198.51.100.10")), pod + " tcp 198.51.100.10:81", "untouched"},
		{"S27 externalIP", with(external("198.51.100.10")), pod + " tcp 198.51.100.10:81", "untouched"},
		{"S28", with(balanced("2001:db8::10")), pod + " tcp [2001:db8::10]:80", "untouched"},
		{"S29", with(balanced("198.51.100.10"), ports(port("http", "TCP", 80, 0))), pod + toVIP, "a1:8080 b1:8080" + masked},
		{"S29 no port 0", with(onNodePort, ports(port("http", "TCP", 80, 0))), outside + " tcp 192.168.0.2:0", "untouched"},
		{"S30 in", with(balanced("198.51.100.10"), ranges(" 203.0.113.0/25 ", "")), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S30 out", with(balanced("198.51.100.10"), ranges("203.0.113.128/25")), outside + toVIP, "drop"},
		{"S30 out, with blanks", with(balanced("198.51.100.10"), ranges(" 203.0.113.128/25 ")), outside + toVIP, "drop"},
		{"S30 pod", with(balanced("198.51.100.10"), ranges("203.0.113.128/25")), pod + toVIP, "drop"},
		{"S30 host", with(balanced("198.51.100.10"), ranges("203.0.113.128/25")), host + toVIP, "drop"},
		{"S31 family", with(balanced("198.51.100.10"), ranges("2001:db8::/32")), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S31 zero length", with(balanced("198.51.100.10"), ranges("192.0.2.0/24", "0.0.0.0/0")), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S32 in", with(balanced("198.51.100.10"), ranges("192.168.0.0/24")), "host 198.51.100.10" + toVIP, "a1:8080 b1:8080" + masked},
		{"S32 others", with(balanced("198.51.100.10"), ranges("192.168.0.0/24")), outside + toVIP, "drop"},
		{"S32 out", with(balanced("198.51.100.10"), ranges("192.168.9.0/24")), "host 198.51.100.10" + toVIP, "drop"},
		{"S33", with(balanced("198.51.100.10"), ranges("192.168.9.0/24")), outside + toPort, "a1:8080 b1:8080" + masked},
		{"S33 externalIP", with(balanced(), external("198.51.100.10"), ranges("192.168.9.0/24")), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S34 blocked", none(balanced("198.51.100.10"), ranges("192.168.9.0/24")), outside + toVIP, "drop"},
		{"S34 allowed", none(balanced("198.51.100.10"), ranges("203.0.113.0/24")), outside + toVIP, "reject"},
		{"S35", with(balanced("198.51.100.10"), func(w *corev1.Service) {
			w.Annotations = map[string]string{corev1.AnnotationLoadBalancerSourceRangesKey: "192.0.2.0/24"}
		}), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S36", with(balanced("198.51.100.9", "198.51.100.10"), ranges("192.0.2.0/24")), outside + toVIP, "drop"},

		{"S37", with(external("198.51.100.10")), pod + toVIP, "a1:8080 b1:8080" + masked},
		{"S37 in a ServiceCIDR", with(external("10.96.0.77", "198.51.100.10")), pod + " tcp 10.96.0.77:80", "drop"},
		{"S37 in no ServiceCIDR", plus(with(external("10.96.0.77")), func(s *state) { s.ServiceCIDRs = nil }), pod + " tcp 10.96.0.77:80", "a1:8080 b1:8080" + masked},
		{"S23 in a ServiceCIDR", with(balanced("10.96.0.77")), outside + " tcp 10.96.0.77:80", "drop"},
		{"S37 harmful", with(external("169.254.169.254")), pod + " tcp 169.254.169.254:80", "untouched"},
		{"S23 harmful", with(balanced("169.254.169.254")), pod + " tcp 169.254.169.254:80", "untouched"},
		{"S37 another's ClusterIP", plus(with(external("10.96.0.2")), another, noServiceCIDR), pod + " tcp 10.96.0.2:80", "reject"},
		{"S23 another's ClusterIP", plus(with(balanced("10.96.0.2")), another, noServiceCIDR), pod + " tcp 10.96.0.2:80", "reject"},
		{"S38 declared", with(external("192.168.1.2")), outside + " tcp 192.168.1.2:80", "a1:8080 b1:8080" + masked},
		{"S38 other port", with(external("192.168.1.2")), outside + " tcp 192.168.1.2:81", "untouched"},
		{"S39", plus(with(external("198.51.100.10")), service(named("demo", "two", "10.96.0.2"), external("198.51.100.10"), ports(port("http", "TCP", 81, 0)))), outside + " tcp 198.51.100.10:81", "reject"},
		{"S39 the same port: the older one", plus(with(external("198.51.100.10"), created(2)), service(named("demo", "zz", "10.96.0.2"), external("198.51.100.10"), created(1))), outside + toVIP, "reject"},
		{"S39 the same port, the same age: by name", plus(with(external("198.51.100.10")), service(named("demo", "aa", "10.96.0.2"), external("198.51.100.10"))), outside + toVIP, "reject"},
		{"S39 the same port: the balancer's", plus(with(external("198.51.100.10")), service(named("demo", "zz", "10.96.0.2"), balanced("198.51.100.10"))), outside + toVIP, "reject"},
		{"S40 zeros", with(external("", "x", "2001:db8::1", "198.051.100.010")), outside + toVIP, "a1:8080 b1:8080" + masked},
		{"S40 zeros in a range", with(balanced("198.051.100.010"), ranges("203.0.113.000/025")), "outside 203.0.113.130" + toVIP, "drop"},
		{"S41", plus(with(external("198.51.100.10")), func(s *state) { s.IgnoreExternalIPs = true }), outside + toVIP, "untouched"},

		{"S42", with(sticky(60)), pod + toWeb, "a1:8080 b1:8080" + kept + " sticky=1m0s"},
		{"S42 default", with(sticky(0)), pod + toWeb, "a1:8080 b1:8080" + kept + " sticky=3h0m0s"},
		{"S47", with(sticky(60), onNodePort, externalLocal), outside + toPort, "a1:8080" + kept + " sticky=1m0s"},

		{"S49", with(balanced("198.51.100.10")), "pod a1" + toVIP, "a1:8080 b1:8080" + masked},
		{"S50", with(onNodePort, externalLocal), outside + toPort, "a1:8080" + kept},
		{"S51", with(onNodePort, externalLocal), pod + toPort, "a1:8080 b1:8080" + kept},
		{"S51 hairpin", with(onNodePort, externalLocal), "pod a1" + toPort, "a1:8080 b1:8080" + hairpin},
		{"S52", with(onNodePort, externalLocal), host + toPort, "a1:8080 b1:8080" + masked},
		{"S53 outside", elsewhere(onNodePort, externalLocal), outside + toPort, "drop"},
		{"S53 pod", elsewhere(onNodePort, externalLocal), pod + toPort, "b1:8080 c1:8080" + kept},
		{"S54", none(onNodePort, externalLocal), outside + toPort, "reject"},
		{"S55 externalIP", with(external("198.51.100.10"), externalLocal), outside + toVIP, "a1:8080" + kept},
		{"S55 no outside address", with(externalLocal), outside + toWeb, "a1:8080 b1:8080" + masked},
		{"S56", plus(with(onNodePort, externalLocal), detect(DetectNothing, "")), pod + toPort, "a1:8080" + kept},
		{"S57", with(onNodePort, externalLocal), outside + toWeb, "a1:8080 b1:8080" + masked},
		{"S58 pod", with(internalLocal), pod + toWeb, "a1:8080" + kept},
		{"S58 host", with(internalLocal), host + toWeb, "a1:8080" + masked},
		{"S58 outside", with(internalLocal), outside + toWeb, "a1:8080" + masked},
		{"S59", elsewhere(internalLocal), pod + toWeb, "drop"},
		{"S60", none(internalLocal), pod + toWeb, "reject"},
		{"S61", with(onNodePort, internalLocal), outside + toPort, "a1:8080 b1:8080" + masked},
		{"S62 internal", elsewhere(onNodePort, internalLocal, externalLocal), pod + toWeb, "drop"},
		{"S62 external", elsewhere(onNodePort, internalLocal, externalLocal), pod + toPort, "b1:8080 c1:8080" + kept},
		{"S64", none(onNodePort), outside + toPort, "reject"},
		{"S64 unusable", plus(none(), slice(of("a1 unready", "b1 terminating unready unserving"))), host + toWeb, "reject"},
		{"S64 before the node", plus(none(internalLocal), slice(of("a1 unready", "b1"))), pod + toWeb, "drop"},

		{"S72", plus(none(), slice(of("a1 unready terminating zone=zone-b", "b1 unready terminating zone=zone-a"))), pod + toWeb, "a1:8080 b1:8080" + kept},
		{"S72 ready", plus(none(), slice(of("a1 unready terminating", "b1"))), pod + toWeb, "b1:8080" + kept},
		{"S73", plus(none(internalLocal), slice(of("a1 unready terminating", "b1"))), pod + toWeb, "a1:8080" + kept},
		{"S73 ready", plus(none(internalLocal), slice(of("a1 unready terminating", "a2"))), outside + toWeb, "a2:8080" + masked},
		{"S74", plus(none(), slice(of("a1 unready", "b1 unready unserving terminating", "c1"))), pod + toWeb, "c1:8080" + kept},
		{"S75", plus(none(), slice(of("a1 unserving terminating", "b1"))), pod + toWeb, "a1:8080 b1:8080" + kept},
		{"S76", plus(none(), slice(of("a1 unknown"))), pod + toWeb, "a1:8080" + kept},
		{"S76 serving", plus(none(), slice(of("a1 unready terminating")), func(s *state) { s.Slices[0].Endpoints[0].Conditions.Serving = nil }), pod + toWeb, "a1:8080" + kept},
		{"S76 terminating", plus(none(), slice(of("a1 unready")), func(s *state) { s.Slices[0].Endpoints[0].Conditions.Terminating = nil }), pod + toWeb, "reject"},
		{"S77", plus(none(internalLocal), slice(of("a1 homeless", "a2"))), outside + toWeb, "a2:8080" + masked},
		{"S78 node", plus(none(), slice(of("a1 node=node-a zone=zone-b", "b1 node=node-b zone=zone-a"))), outside + toWeb, "a1:8080" + masked},
		{"S78 zone", plus(none(), slice(of("a1 zone=zone-b", "b1 zone=zone-a"))), pod + toWeb, "b1:8080" + kept},
		{"S78 a hint lacks", plus(none(), slice(of("a1", "b1 zone=zone-a"))), pod + toWeb, "a1:8080 b1:8080" + kept},
		{"S78 none for us", plus(none(), slice(of("a1 zone=zone-b", "b1 zone=zone-c"))), pod + toWeb, "a1:8080 b1:8080" + kept},
		{"S78 zone when no node", plus(none(), slice(of("a1 node=node-c zone=zone-b", "b1 node=node-b zone=zone-a"))), outside + toWeb, "b1:8080" + masked},
		{"S79 unready", plus(none(), slice(of("a1 unready", "b1 zone=zone-a", "c1 zone=zone-b"))), pod + toWeb, "b1:8080" + kept},
		{"S79 no zone", plus(none(), slice(of("b1 zone=zone-a", "c1 zone=zone-b")), func(s *state) { s.Nodes[0].Labels = nil }), pod + toWeb, "b1:8080 c1:8080" + kept},
		{"S79 no zone, a hint without a name", plus(none(), slice(of("b1 zone=zone-a", "c1 zone=zone-b")), func(s *state) {
			s.Nodes[0].Labels, s.Slices[0].Endpoints[0].Hints.ForZones[0].Name = nil, ""
		}), pod + toWeb, "b1:8080 c1:8080" + kept},
		{"S80", plus(none(internalLocal), slice(of("a1 zone=zone-b", "b1 zone=zone-a"))), pod + toWeb, "a1:8080" + kept},
		{"S80 short cut", plus(none(onNodePort, externalLocal), slice(of("a1 zone=zone-b", "b1 zone=zone-a"))), pod + toPort, "b1:8080" + kept},
		{"S81", plus(none(), slice(of("a1 zone=zone-b", "b1 zone=zone-a")), func(s *state) { s.Nodes[0].Labels[corev1.LabelTopologyZone] = "zone-b" }), pod + toWeb, "a1:8080" + kept},
		{"S82", plus(none(), slice(of("a2 zone=zone-b zone=zone-a", "b1 zone=zone-b"))), outside + toWeb, "a2:8080" + masked},

		{"S83", plus(none(), slice(of("a1"), func(d *discoveryv1.EndpointSlice) { d.Labels = nil })), pod + toWeb, "reject"},
		{"S83 namespace", plus(none(), slice(of("a1"), func(d *discoveryv1.EndpointSlice) { d.Namespace = "other" })), pod + toWeb, "reject"},
		{"S84", plus(all, slice(of("b2")), slice(of("a2"), v6), slice(of("x"), func(d *discoveryv1.EndpointSlice) { d.AddressType = "FQDN" })), pod + toWeb, "a1:8080 b1:8080 b2:8080 c1:8080" + kept},
		{"S84 the slice's family", plus(none(), slice(of("10.244.1.21"), v6)), pod + toWeb, "reject"},
		{"S84 the address's family", plus(none(), slice(of("fd00:10:244:1::21"))), pod + toWeb, "reject"},
		{"S85", plus(all, slice(of("b2"), slicePort(ptr("http"), "TCP", 9090)), slice(of("a2"), slicePort(ptr("http"), "UDP", 8080)), slice(of("a2"), slicePort(ptr("web"), "TCP", 8080))), pod + toWeb, "a1:8080 b1:8080 b2:9090 c1:8080" + kept},
		{"S86 nil name", plus(none(), slice(of("a1"), slicePort(nil, "TCP", 8080))), pod + toWeb, "reject"},
		{"S86 no number", plus(none(), slice(of("a1"), slicePort(ptr("http"), "TCP", 0))), pod + toWeb, "reject"},
		{"S86 empty name", plus(none(ports(port("", "TCP", 80, 0))), slice(of("a1"), slicePort(ptr(""), "TCP", 8080))), pod + toWeb, "a1:8080" + kept},
		{"S87", plus(none(), slice(of("10.244.01.021,10.244.9.9", "-"))), pod + toWeb, "a1:8080" + kept},
		{"S88", plus(none(), slice(of("a1 unready terminating")), slice(of("a1")), slice(of("a1 unready terminating"))), pod + toWeb, "a1:8080" + kept},
		{"S88 beside others", plus(none(), slice(of("a1 unready terminating")), slice(of("a1", "b1")), slice(of("a1 unready terminating"))), pod + toWeb, "a1:8080 b1:8080" + kept},
		{"S88 not terminating decides, ready or not", plus(none(), slice(of("a1 terminating")), slice(of("a1 unready", "b1"))), pod + toWeb, "b1:8080" + kept},
		{"S88 ready", plus(none(), slice(of("a1 unready")), slice(of("a1")), slice(of("a1 unready"))), pod + toWeb, "a1:8080" + kept},
		{"S88 serving", plus(none(), slice(of("a1 unready unserving terminating")), slice(of("a1 unready terminating")), slice(of("a1 unready unserving terminating"))), pod + toWeb, "a1:8080" + kept},
		{"S88 here", plus(none(internalLocal), slice(of("a1 homeless")), slice(of("a1")), slice(of("a1 homeless"))), pod + toWeb, "a1:8080" + kept},
		{"S90", []change{slice(of("a1")), service()}, pod + toWeb, "a1:8080" + kept},

		{"S92 headless", none(named("demo", "web", "None")), pod + toWeb, "drop"},
		{"S92 headless, with an address left over", with(func(w *corev1.Service) { w.Spec.ClusterIP = "None" }), pod + toWeb, "drop"},
		{"S92 empty, with an address left over", with(func(w *corev1.Service) { w.Spec.ClusterIP = "" }), pod + toWeb, "drop"},
		{"S92 ExternalName", with(typed("ExternalName")), pod + toWeb, "drop"},
		{"S93", with(label(labelProxyName)), pod + toWeb, "drop"},
		{"S94", plus(all, slice(of("b2"), func(d *discoveryv1.EndpointSlice) { d.Labels[corev1.IsHeadlessService] = "" })), pod + toWeb, "a1:8080 b1:8080 c1:8080" + kept},
		{"S96", all, pod + " tcp 10.244.2.31:8080", "untouched"},

		{"S97", plus(all, func(s *state) { s.MasqueradeAll = true }), pod + toWeb, "a1:8080 b1:8080 c1:8080" + masked},
		{"S97 Local", plus(with(onNodePort, externalLocal), func(s *state) { s.MasqueradeAll = true }), outside + toPort, "a1:8080" + kept},
		{"S97 Local, pod", plus(with(onNodePort, externalLocal), func(s *state) { s.MasqueradeAll = true }), pod + toPort, "a1:8080 b1:8080" + kept},
		{"S98", all, "outside b2" + toWeb, "a1:8080 b1:8080 c1:8080" + kept},
		{"S99", plus(all, detect(DetectNodeCIDR, "")), "outside b2" + toWeb, "a1:8080 b1:8080 c1:8080" + masked},
		{"S99 the single field", plus(all, detect(DetectNodeCIDR, ""), func(s *state) {
			s.Nodes[0].Spec.PodCIDRs, s.Nodes[0].Spec.PodCIDR = nil, "10.244.1.0/24"
		}), "outside b2" + toWeb, "a1:8080 b1:8080 c1:8080" + masked},
		{"S100 bridge", plus(all, detect(DetectBridgeInterface, "cni0")), pod + toWeb, "a1:8080 b1:8080 c1:8080" + kept},
		{"S100 other bridge", plus(all, detect(DetectBridgeInterface, "cni")), pod + toWeb, "a1:8080 b1:8080 c1:8080" + masked},
		{"S100 prefix", plus(all, detect(DetectInterfacePrefix, "cni")), pod + toWeb, "a1:8080 b1:8080 c1:8080" + kept},
		{"S101", plus(all, detect(DetectNothing, "")), outside + toWeb, "a1:8080 b1:8080 c1:8080" + kept},
		{"S101 hairpin", plus(all, detect(DetectNothing, "")), "pod a1" + toWeb, "a1:8080 b1:8080 c1:8080" + hairpin},
		{"S104", plus(none(), slice(of("a1 homeless", "b1"))), "pod a1" + toWeb, "a1:8080 b1:8080" + kept},
		{"S105", plus(none(), slice(of("192.168.0.2", "b1"))), pod + toWeb, "192.168.0.2:8080 b1:8080" + kept},

		{"S107", plus(none(dual), slice(of("a1")), slice(of("b1"), v6)), pod + " tcp [fd00:10:96::1]:80", "b1:8080" + kept},
		{"S107 no families", plus(none(func(w *corev1.Service) { w.Spec.IPFamilies, w.Spec.ClusterIPs = nil, nil }), slice(of("a1"))), pod + toWeb, "a1:8080" + kept},
		{"S107 no families, other family", with(func(w *corev1.Service) { w.Spec.IPFamilies, w.Spec.ClusterIPs = nil, nil }, external("2001:db8::10")), outside6 + " tcp [2001:db8::10]:80", "untouched"},
		{"S107 other family", with(), pod + " tcp [fd00:10:96::1]:80", "drop"},
		{"S108", with(dual), pod + " tcp [fd00:10:96::1]:80", "reject"},
		{"S109", with(onNodePort), outside6 + " tcp [fd00:168::2]:30080", "untouched"},
		{"S110", []change{service(dual, external("2001:db8::10")), slice(of("b1"), v6), func(s *state) { s.ClusterCIDRs = s.ClusterCIDRs[:1] }}, pod + " tcp [fd00:10:96::1]:80", "b1:8080" + kept},
		{"S110 externalIP", []change{service(dual, external("2001:db8::10")), slice(of("b1"), v6)}, outside6 + " tcp [2001:db8::10]:80", "b1:8080" + masked},

		{"an endpoint that is harmful", plus(none(), slice(of("127.0.0.1", "b1"))), pod + toWeb, "b1:8080" + kept},
		{"an endpoint that is a ClusterIP", plus(none(), slice(of("10.96.0.1", "b1"))), pod + toWeb, "b1:8080" + kept},
		{"a ClusterIP twice: the older one has it", plus(with(created(2)), service(named("demo", "zz", "10.96.0.1"), created(1), ports(port("http", "TCP", 81, 0)))), pod + toWeb, "reject"},
		{"a ClusterIP twice: the younger one has nothing else either", plus(with(created(1)), service(named("demo", "aa", "10.96.0.1"), created(2), external("198.51.100.10"))), pod + toVIP, "untouched"},
		{"who is not in force keeps nobody out", plus(with(created(1)),
			service(named("demo", "bb", "10.96.0.1"), dual, created(2)),
			service(named("demo", "cc", "fd00:10:96::1"), single6, created(3))), pod + " tcp [fd00:10:96::1]:80", "reject"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newState(row.state...)
			if got := Decide(s.Cluster, s.Config, nodeA, parsePacket(row.packet)).String(); got != row.want {
				t.Errorf("%s:\n got %s\nwant %s", row.packet, got, row.want)
			}
		})
	}
}

const outside6 = "outside 2001:db8:ffff::2"

// TestOrderDoesNotMatter is S90 and S91: neither the order of objects nor that of the
// endpoints in them changes an outcome.
func TestOrderDoesNotMatter(t *testing.T) {
	build := func() state {
		return newState(service(onNodePort), service(named("demo", "two", "10.96.0.2")),
			slice(of("a1 unready terminating", "b1", "c1")), slice(of("a1", "b1 unready terminating", "b2")), slice(of("a1 homeless")))
	}
	packet := parsePacket("pod a2 tcp 10.96.0.1:80")
	s := build()
	want := Decide(s.Cluster, s.Config, nodeA, packet).String()
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		s := build()
		random.Shuffle(len(s.Services), func(i, j int) { s.Services[i], s.Services[j] = s.Services[j], s.Services[i] })
		random.Shuffle(len(s.Slices), func(i, j int) { s.Slices[i], s.Slices[j] = s.Slices[j], s.Slices[i] })
		for k := range s.Slices {
			e := s.Slices[k].Endpoints
			random.Shuffle(len(e), func(i, j int) { e[i], e[j] = e[j], e[i] })
		}
		if got := Decide(s.Cluster, s.Config, nodeA, packet).String(); got != want {
			t.Fatalf("got %s, in another order %s", got, want)
		}
	}
}

func TestHarmfulAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"10.0.0.1": false, "192.0.2.1": false, "100.100.100.201": false, "223.255.255.255": false,
		"2001:db8::1": false, "fd00:ec2::253": false, "64:ff9b::10.0.0.1": false, "2002:a00:1::1": false,
		"127.0.0.1": true, "::1": true, "169.254.169.254": true, "fe80::1": true, "224.0.0.1": true, "ff02::1": true, "0.0.0.0": true, "::": true,
		"0.0.0.1": true, "240.0.0.1": true, "255.255.255.255": true, "100.100.100.200": true, "fd00:ec2::254": true,
		"64:ff9b::127.0.0.1": true, "2002:7f00:1::": true, "::127.0.0.1": true,
	} {
		if got := isHarmful(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"010.001.002.003": "10.1.2.3", "::ffff:10.1.2.3": "10.1.2.3", "fd00:0::01": "fd00::1",
		"": "invalid IP", "10.1.2": "invalid IP", "10.1.2.256": "invalid IP", "10.1.2.x": "invalid IP", "host": "invalid IP",
	} {
		got, ok := parseAddress(text)
		if got.String() != want || ok != (want != "invalid IP") {
			t.Errorf("%q: got %v %v, want %s", text, got, ok, want)
		}
	}
	if familyOf(netip.MustParseAddr("::ffff:10.1.2.3")) != corev1.IPv4Protocol {
		t.Error("an IPv4 address in IPv6 form is not IPv4")
	}
}
