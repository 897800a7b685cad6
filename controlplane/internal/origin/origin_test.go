package origin

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// cluster has two nodes and demo/web, with an endpoint at each.
type cluster struct{}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func (cluster) Nodes() []*model.Node {
	return []*model.Node{
		{Name: "node-a", IPs: addrs("192.0.2.1", "2001:db8::1"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}},
		{Name: "node-b", IPs: addrs("192.0.2.2"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}},
	}
}

func (cluster) Services() []model.Key { return []model.Key{{Namespace: "demo", Name: "web"}} }

func (cluster) Service(key model.Key) (*model.Service, []*model.Slice) {
	if key.Name != "web" {
		return nil, nil
	}
	return &model.Service{
		Key: key, ClusterIPs: addrs("10.96.0.1"), LoadBalancerIPs: addrs("198.51.100.10"),
		Ports: []model.Port{{Name: "http", Protocol: model.TCP, Port: 80, NodePort: 30080}, {Name: "admin", Protocol: model.TCP, Port: 81}},
	}, nil
}

func (cluster) Slices() []*model.Slice {
	slice := func(name string, endpoints ...model.Endpoint) *model.Slice {
		return &model.Slice{Key: model.Key{Namespace: "demo", Name: name}, Endpoints: endpoints}
	}
	return []*model.Slice{
		slice("web-4", model.Endpoint{Addr: addrs("10.244.1.5")[0], Node: "node-a", Pod: "web-0"}, model.Endpoint{Addr: addrs("10.9.9.9")[0], Node: "node-b", Pod: "web-1"}),
		slice("web-6", model.Endpoint{Addr: addrs("fd00::5")[0], Node: "node-a", Pod: "web-0"}),
	}
}

func TestFind(t *testing.T) {
	for text, test := range map[string]struct{ at, want string }{
		"demo/web-0":         {"", "node-a pod [10.244.1.5 fd00::5] pod demo/web-0 of node node-a"},
		"pod/demo/web-1":     {"", "node-b pod [10.9.9.9] pod demo/web-1 of node node-b"},
		"pod/demo/web-0":     {"node-b", "node-b outside [10.244.1.5 fd00::5] pod demo/web-0 of node node-a, coming to node node-b"},
		"node-a":             {"", "node-a host [192.0.2.1 2001:db8::1] a process of node node-a"},
		"node/node-b":        {"", "node-b host [192.0.2.2] a process of node node-b"},
		"192.0.2.2":          {"", "node-b host [192.0.2.2] 192.0.2.2, node node-b"},
		"10.9.9.9":           {"", "node-b pod [10.9.9.9] 10.9.9.9, an endpoint of node node-b"},
		"10.244.2.77":        {"", "node-b pod [10.244.2.77] 10.244.2.77, a pod of node node-b by its pod CIDR"},
		"10.244.1.77":        {"node-a", "node-a pod [10.244.1.77] 10.244.1.77, a pod of node node-a by its pod CIDR"},
		"::ffff:203.0.113.7": {"node-a", "node-a outside [203.0.113.7] 203.0.113.7, coming to node node-a"},
		"203.0.113.7":        {"", `from "203.0.113.7": no address of a pod or node of the cluster: expected a node too`},
		"node-aa":            {"", `from "node-aa": expected a node, a pod (NAMESPACE/NAME) or an address; did you mean "node-a"`},
		"pod/demo/client":    {"", `from "demo/client": no EndpointSlice has a pod demo/client: give its address instead`},
		"other/web-0":        {"", `from "other/web-0": no EndpointSlice has a pod other/web-0`},
		"node/web-0":         {"", `from "node/web-0": expected a node`},
	} {
		o, err := Find(text, test.at, cluster{})
		got := fmt.Sprint(o.Node, " ", o.From, " ", o.Addrs, " ", o.Text)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s at %q:\ngot  %s\nwant %s", text, test.at, got, test.want)
		}
	}
}

func TestTo(t *testing.T) {
	for text, want := range map[string]string{
		"demo/web:80":         "demo/web invalid IP 80 ",
		"demo/web:http":       "demo/web invalid IP http ",
		"demo/web":            "demo/web invalid IP  ",
		"other:80":            "default/other invalid IP 80 ",
		"10.96.0.1:81":        "demo/web 10.96.0.1 81 ",
		"198.51.100.10:80":    "demo/web 198.51.100.10 80 ",
		"192.0.2.2:30080":     "demo/web 192.0.2.2 30080 node-b",
		"[2001:db8::1]:30080": "demo/web 2001:db8::1 30080 node-a",
		"demo/web:8080":       `to "demo/web:8080": Service demo/web has no port 8080: expected one of 80 (http), 81 (admin)`,
		"10.96.0.1:82":        `to "10.96.0.1:82": no Service has this address and port`,
		"192.0.2.2:80":        `to "192.0.2.2:80": no Service has this address and port`,
		"10.96.0.1":           `to "10.96.0.1": expected a port too: 10.96.0.1:80`,
		"fd00::1":             `to "fd00::1": expected a port too: [fd00::1]:80`,
		":80":                 `to ":80": expected SERVICE:PORT or ADDRESS:PORT`,
	} {
		to, err := To(text, cluster{})
		got := fmt.Sprint(to.Service, " ", to.Address, " ", to.Port, " ", to.Node)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func FuzzWhatPeopleWrite(f *testing.F) {
	f.Add("demo/web:80", "203.0.113.7")
	f.Fuzz(func(_ *testing.T, to, from string) {
		_, _ = To(to, cluster{})
		_, _ = Find(from, "", cluster{})
	})
}
