package conformance

import "strings"

// What differs in IPVS mode by nature, and why. The scenarios say what nftables does, which
// is what a Service promises; these are where kube-proxy's IPVS mode differs too.
const (
	oneList = "S154: a virtual server has one list of endpoints: with external policy Local those on the node, for pods and the node itself too, " +
		"who then need no masquerading"
	otherPorts  = "S155: the address is bound to the node, which refuses its other ports"
	persistence = "S146: the kernel remembers a client for as long as it remembers any of its connections"
	udpAtOnce   = "S150: an endpoint of UDP goes at once, also one that still serves its flows"
)

// ipvsDifferences are probes, "scenario step: line", of which the packets go another way. One
// that goes as it says has to be struck from the list.
var ipvsDifferences = map[string]string{
	"affinity-timeout 1: S43 outside 203.0.113.2 -> tcp 192.168.0.2:30080 = pe1:8080* nb1:8080* nc1:8080* nc2:8080* forgets=1s": persistence,
	"affinity-timeout 1: S43 pod pc1 -> tcp 10.96.0.1:80 = pe1:8080 nb1:8080 nc1:8080 nc2:8080 forgets=1s":                      persistence,
	"dual-stack 3: S27 outside 2001:db8:ffff::2 -> tcp [2001:db8::10]:81 = untouched":                                           otherPorts,
	"dual-stack 4: S51 pod pc1 -> tcp [fd00:168::2]:30080 = pe1:8080 nc1:8080":                                                  oneList,
	"dual-stack 4: S52 host -> tcp [fd00:168::2]:30080 = pe1:8080* nc1:8080*":                                                   oneList,
	"endpoint-conditions 1: S77 pod pc1 -> tcp 192.168.0.2:30082 = pe2:8080 nb1:8080 nb2:8080":                                  oneList,
	"external-ips 1: S27 outside 203.0.113.2 -> tcp 198.51.100.40:82 = untouched":                                               otherPorts,
	"external-ips 2: S27 outside 203.0.113.2 -> tcp 198.51.100.40:81 = untouched":                                               otherPorts,
	"load-balancer 1: S27 pod pc1 -> tcp 198.51.100.10:81 = untouched":                                                          otherPorts,
	"load-balancer 1: S27 pod pc1 -> udp 198.51.100.10:80 = untouched":                                                          otherPorts,
	"masquerade 2: S97 pod pc1 -> tcp 192.168.0.2:30080 = pe1:8080 nb1:8080":                                                    oneList,
	"masquerade 3: S99 pod pc1 -> tcp 192.168.0.2:30080 = pe1:8080 nb1:8080":                                                    oneList,
	"masquerade 4: S100 pod pc1 -> tcp 192.168.0.2:30080 = pe1:8080 nb1:8080":                                                   oneList,
	"rolling-update 1: S51 pod pc1 -> tcp 198.51.100.10:80 = pe1:8080 nb1:8080":                                                 oneList,
	"switching-policies 2: S51 pod pc1 -> tcp 198.51.100.10:80 = pe1:8080 nb1:8080":                                             oneList,
	"switching-policies 2: S52 host -> tcp 198.51.100.10:80 = pe1:8080* nb1:8080*":                                              oneList,
	"topology 1: S80 pod pc1 -> tcp 192.168.0.2:30080 = nb1:8080":                                                               oneList,
	"topology 2: S81 pod pc1 -> tcp 192.168.0.2:30080 = pe1:8080 nc1:8080":                                                      oneList,
	"traffic-policies 1: S51 pod pc1 -> tcp 192.168.0.2:30080 = pe1:8080 nb1:8080":                                              oneList,
	"traffic-policies 1: S51 pod pc1 -> tcp 198.51.100.10:80 = pe1:8080 nb1:8080":                                               oneList,
	"traffic-policies 1: S51 pod pe1 -> tcp 198.51.100.10:80 = pe1:8080* nb1:8080":                                              oneList,
	"traffic-policies 1: S52 host -> tcp 192.168.0.2:30080 = pe1:8080* nb1:8080*":                                               oneList,
	"traffic-policies 1: S52 host -> tcp 198.51.100.10:80 = pe1:8080* nb1:8080*":                                                oneList,
	"traffic-policies 1: S55 pod pc1 -> tcp 198.51.100.40:80 = pe2:8080 nb2:8080":                                               oneList,
	"traffic-policies 1: S62,S52 host -> tcp 192.168.0.2:30084 = nb1:8080*":                                                     oneList,
	"traffic-policies 3: S56 host -> tcp 192.168.0.2:30083 = pe1:8080* pe2:8080* nb1:8080*":                                     oneList,
}

// differences are those of the mode that is tested.
func differences() map[string]string {
	if mode == "ipvs" {
		return ipvsDifferences
	}
	return nil
}

// differsOnTheWay tells whether what a witness complains of differs by nature: the probe
// that it made over and over, or flows of UDP.
func differsOnTheWay(failure string) (reason string, differs bool) {
	for probe, reason := range differences() {
		if _, text, _ := strings.Cut(probe, ": "); strings.HasPrefix(failure, text+":") {
			return reason, true
		}
	}
	return udpAtOnce, mode == "ipvs" && strings.Contains(failure, "a UDP flow to ")
}
