package traffic

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// question is about demo/web, which has an endpoint on this node and on another.
func question(edit func(*Question)) Question {
	q := Question{
		Service: &model.Service{Key: model.Key{Namespace: "demo", Name: "web"}, ClusterIPs: addrs("10.96.0.1"),
			Ports: []model.Port{{Name: "http", Protocol: model.TCP, Port: 80}}, Internal: model.Cluster, External: model.Cluster},
		Slices: []*model.Slice{{Key: model.Key{Namespace: "demo", Name: "web-1"}, Service: "web", Ports: []model.SlicePort{{Name: "http", Protocol: model.TCP, Port: 8080}},
			Endpoints: []model.Endpoint{
				{Addr: addrs("10.244.1.21")[0], Node: "node-a", Ready: true, Serving: true},
				{Addr: addrs("10.244.2.31")[0], Node: "node-b", Ready: true, Serving: true},
			}}},
		Node:         &model.Node{Name: "node-a", IPs: addrs("192.168.0.2", "fd00::2"), PodCIDRs: prefixes("10.244.1.0/24", "fd00:10:244:1::/64")},
		ServiceCIDRs: []*model.ServiceCIDR{{Name: "k", CIDRs: prefixes("10.96.0.0/16")}},
		Settings:     compile.DefaultSettings(),
	}
	if edit != nil {
		edit(&q)
	}
	return q
}

// lines returns an answer as text.
func lines(rows []*introspectionv1.Traffic) string {
	var list []string
	for _, r := range rows {
		line := fmt.Sprintf("%s -> %s: %s", r.GetFrom(), r.GetTo(), r.GetOutcome())
		if r.GetOutcome() == "accepted" {
			line += fmt.Sprintf(" %s masquerade=%s", strings.Join(r.GetEndpoints(), " "), r.GetMasquerade())
		}
		if r.GetAffinity() != nil {
			line += " sticky=" + r.GetAffinity().AsDuration().String()
		}
		list = append(list, line)
	}
	return strings.Join(list, "\n")
}

func TestAnswers(t *testing.T) {
	const both = "accepted 10.244.1.21:8080 10.244.2.31:8080"
	for name, c := range map[string]struct {
		edit func(*Question)
		want []string
	}{
		"a cluster IP": {nil, []string{
			"a pod of this node -> TCP 10.96.0.1:80: " + both + " masquerade=hairpin",
			"a process of this node -> TCP 10.96.0.1:80: " + both + " masquerade=yes",
			"elsewhere -> TCP 10.96.0.1:80: " + both + " masquerade=yes",
		}},
		"internal policy Local, an affinity, the endpoint elsewhere": {func(q *Question) {
			q.Service.Internal, q.Service.AffinityTimeout = model.Local, time.Hour
			q.Slices[0].Endpoints = q.Slices[0].Endpoints[1:]
		}, []string{
			"a pod of this node -> TCP 10.96.0.1:80: dropped",
			"a process of this node -> TCP 10.96.0.1:80: dropped",
			"elsewhere -> TCP 10.96.0.1:80: dropped",
		}},
		"no endpoint": {func(q *Question) { q.Slices = nil }, []string{
			"a pod of this node -> TCP 10.96.0.1:80: refused",
			"a process of this node -> TCP 10.96.0.1:80: refused",
			"elsewhere -> TCP 10.96.0.1:80: refused",
		}},
		"a node port with external policy Local and affinity": {func(q *Question) {
			q.Service.Ports[0].NodePort, q.Service.External, q.Service.AffinityTimeout = 30080, model.Local, time.Minute
		}, []string{
			"a pod of this node -> TCP 10.96.0.1:80: " + both + " masquerade=hairpin sticky=1m0s",
			"a process of this node -> TCP 10.96.0.1:80: " + both + " masquerade=yes sticky=1m0s",
			"elsewhere -> TCP 10.96.0.1:80: " + both + " masquerade=yes sticky=1m0s",
			"a pod of this node -> TCP 192.168.0.2:30080 (node port): " + both + " masquerade=hairpin sticky=1m0s",
			"a process of this node -> TCP 192.168.0.2:30080 (node port): " + both + " masquerade=yes sticky=1m0s",
			"elsewhere -> TCP 192.168.0.2:30080 (node port): accepted 10.244.1.21:8080 masquerade=no sticky=1m0s",
		}},
		"a node port that this address does not serve": {func(q *Question) {
			q.Service.Ports[0].NodePort, q.Settings.NodePortAddresses = 30080, []string{"192.168.9.0/24"}
			q.Service.ClusterIPs = addrs("10.96.0.1")
		}, []string{
			"a pod of this node -> TCP 10.96.0.1:80: " + both + " masquerade=hairpin",
			"a process of this node -> TCP 10.96.0.1:80: " + both + " masquerade=yes",
			"elsewhere -> TCP 10.96.0.1:80: " + both + " masquerade=yes",
			"a pod of this node -> TCP 192.168.0.2:30080 (node port): untouched",
			"a process of this node -> TCP 192.168.0.2:30080 (node port): untouched",
			"elsewhere -> TCP 192.168.0.2:30080 (node port): untouched",
		}},
		"a load balancer with source ranges": {func(q *Question) {
			q.Service.LoadBalancerIPs, q.Service.SourceRanges = addrs("192.0.2.1"), prefixes("203.0.113.0/24", "2001:db8::/64", "192.168.0.0/24")
		}, []string{
			"a pod of this node -> TCP 10.96.0.1:80: " + both + " masquerade=hairpin",
			"a process of this node -> TCP 10.96.0.1:80: " + both + " masquerade=yes",
			"elsewhere -> TCP 10.96.0.1:80: " + both + " masquerade=yes",
			"a pod of this node, not in 203.0.113.0/24 or 192.168.0.0/24 -> TCP 192.0.2.1:80: dropped",
			"a process of this node, in 203.0.113.0/24 or 192.168.0.0/24 -> TCP 192.0.2.1:80: " + both + " masquerade=yes",
			"elsewhere, in 203.0.113.0/24 or 192.168.0.0/24 -> TCP 192.0.2.1:80: " + both + " masquerade=yes",
			"elsewhere, not in 203.0.113.0/24 or 192.168.0.0/24 -> TCP 192.0.2.1:80: dropped",
		}},
		"two families, an external IP, no detector": {func(q *Question) {
			q.Service.ClusterIPs, q.Service.ExternalIPs = addrs("fd00:96::1", "10.96.0.1"), addrs("192.0.2.9")
			q.Settings.DetectLocal = 0
		}, []string{
			"a pod of this node -> TCP [fd00:96::1]:80: refused",
			"a process of this node -> TCP [fd00:96::1]:80: refused",
			"elsewhere -> TCP [fd00:96::1]:80: refused",
			"a pod of this node -> TCP 10.96.0.1:80: " + both + " masquerade=hairpin",
			"a process of this node -> TCP 10.96.0.1:80: " + both + " masquerade=no",
			"elsewhere -> TCP 10.96.0.1:80: " + both + " masquerade=no",
			"a pod of this node -> TCP 192.0.2.9:80: " + both + " masquerade=yes",
			"a process of this node -> TCP 192.0.2.9:80: " + both + " masquerade=yes",
			"elsewhere -> TCP 192.0.2.9:80: " + both + " masquerade=yes",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rows, complete := Answer(question(c.edit))
			if diff := cmp.Diff(strings.Join(c.want, "\n"), lines(rows)); diff != "" || !complete {
				t.Errorf("complete %v (-want +got)\n%s", complete, diff)
			}
		})
	}
}

// TestThePodsDetectorIsThatOfTheSettings: with an interface detector a pod is known
// by it, whatever its address.
func TestThePodsDetectorIsThatOfTheSettings(t *testing.T) {
	for _, mode := range []string{"cni0", "veth"} {
		rows, _ := Answer(question(func(q *Question) {
			q.Settings.DetectLocal, q.Settings.Interface = 3, mode
			if mode == "veth" {
				q.Settings.DetectLocal = 4
			}
			q.Node.PodCIDRs = nil
			q.Slices[0].Endpoints = q.Slices[0].Endpoints[1:]
		}))
		if rows[0].GetMasquerade() != "no" || rows[2].GetMasquerade() != "yes" {
			t.Errorf("%s:\n%s", mode, lines(rows))
		}
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	rows, complete := Answer(question(func(q *Question) {
		for i := range 6000 {
			q.Slices[0].Endpoints = append(q.Slices[0].Endpoints, model.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 245, byte(i >> 8), byte(i)}), Ready: true})
		}
		q.Service.ExternalIPs = addrs("192.0.2.9", "192.0.2.10")
	}))
	if len(rows) != 3 || complete {
		t.Errorf("%d rows, complete %v; want one frontend's", len(rows), complete)
	}
	began := time.Now()
	rows, complete = Answer(question(func(q *Question) {
		q.Service.Ports, q.Slices = nil, nil
		for i := range 256 {
			q.Service.Ports = append(q.Service.Ports, model.Port{Name: fmt.Sprint(i), Protocol: model.TCP, Port: uint16(i + 1)})
		}
		for i := range 60 {
			q.Service.ExternalIPs = append(q.Service.ExternalIPs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
	}))
	if len(rows) > 50 || complete || time.Since(began) > 20*time.Second {
		t.Errorf("%d rows, complete %v, after %v", len(rows), complete, time.Since(began))
	}
}
