package ruleset

import (
	"fmt"
	"slices"
	"testing"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// dual is demo/web in both families, with two endpoints of each here.
func dual(change func(*View)) View {
	return web(func(v *View) {
		v.Service.ClusterIPs, v.Service.HealthCheckNodePort = addrs("10.96.0.1", "fd00:96::1"), 32000
		v.Local.Local = []state.Group{group("http", 8080, "10.244.1.1", "10.244.1.2"), group("http", 8081, "10.244.1.1"), group("http", 8080, "fd00:244:1::1", "fd00:244:1::2")}
		if change != nil {
			change(v)
		}
	})
}

// TestReadyEndpointsHereAreCountedByFamily is S66 and S68: by address, and only
// those that are not terminating.
func TestReadyEndpointsHereAreCountedByFamily(t *testing.T) {
	env := Environment{HealthCheckAddrs: addrs("192.168.0.2", "fd00:168::2")}
	for name, c := range map[string]struct {
		change func(*View)
		want   string
	}{
		"each address once": {nil, "192.168.0.2:32000=2 [fd00:168::2]:32000=2"},
		"terminating ones do not count": {func(v *View) {
			edit(&v.Local.Local[2], 0, func(e *state.Endpoint) { e.Terminating = true })
		}, "192.168.0.2:32000=2 [fd00:168::2]:32000=1"},
		"none is here":                {func(v *View) { v.Local = nil }, "192.168.0.2:32000=0 [fd00:168::2]:32000=0"},
		"not of a family it has not":  {func(v *View) { v.Service.ClusterIPs = addrs("fd00:96::1") }, "[fd00:168::2]:32000=2"},
		"without a health check port": {func(v *View) { v.Service.HealthCheckNodePort = 0 }, ""},
		"of a Service that is gone":   {func(v *View) { v.Service = nil }, ""},
	} {
		table := NewTable()
		table.SetEnvironment(env)
		names := slices.Values([]string{"demo/web"})
		changes := table.Update(names, func(string) View { return dual(c.change) })
		got := ""
		for i, check := range table.HealthChecks() {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("%s=%d", check.Listen, check.Ready)
		}
		if got != c.want || changes.HealthChecks != (c.want != "") {
			t.Errorf("%s: %q, changed %v; want %q", name, got, changes.HealthChecks, c.want)
		}
		if again := table.Update(names, func(string) View { return dual(c.change) }); again.HealthChecks {
			t.Errorf("%s: the same is a change", name)
		}
		other := table.Update(names, func(string) View {
			return dual(func(v *View) {
				v.Local.Local[0].Endpoints = state.PackEndpoints(slices.Collect(v.Local.Local[0].Endpoints.All())[:1]...)
			})
		})
		if !other.HealthChecks {
			t.Errorf("%s: one endpoint less is no change", name)
		}
	}
}

func TestNodePortsOnLoopbackAddresses(t *testing.T) {
	env := Environment{NodePortAddrs: addrs("192.168.0.2", "fd00:168::2"), LocalhostNodePorts: true}
	udp := func(v *View) {
		v.Service.Ports = append(v.Service.Ports, state.Port{Name: "dns", Protocol: state.UDP, Port: 53, NodePort: 30053}, state.Port{Name: "none", Protocol: state.TCP, Port: 81})
	}
	for name, c := range map[string]struct {
		change func(*View)
		env    Environment
		want   string
	}{
		"TCP alone, in both families":  {udp, env, "127.0.0.1:30080>192.168.0.2:30080 [::1]:30080>[fd00:168::2]:30080 "},
		"a family that it has not":     {func(v *View) { v.Service.ClusterIPs = addrs("10.96.0.1") }, env, "127.0.0.1:30080>192.168.0.2:30080 "},
		"a family that has no address": {nil, Environment{NodePortAddrs: addrs("fd00:168::2"), LocalhostNodePorts: true}, "[::1]:30080>[fd00:168::2]:30080 "},
		"nobody asked for it":          {nil, Environment{NodePortAddrs: addrs("192.168.0.2")}, ""},
	} {
		table := NewTable()
		table.SetEnvironment(c.env)
		changes := table.Update(slices.Values([]string{"demo/web"}), func(string) View { return dual(c.change) })
		got := ""
		for _, port := range table.LocalhostPorts() {
			got += fmt.Sprintf("%s>%s ", port.Listen, port.To)
		}
		if got != c.want || changes.LocalhostPorts != (c.want != "") {
			t.Errorf("%s: %q, changed %v; want %q", name, got, changes.LocalhostPorts, c.want)
		}
	}
}

// TestWhatServesUDPConnections is S115 to S118: draining endpoints serve, whatever the
// policies, for UDP frontends in force that anything serves.
func TestWhatServesUDPConnections(t *testing.T) {
	udp := func(name string, change func(*View)) View {
		return web(func(v *View) {
			v.Service.Name, v.Service.LoadBalancerIPs, v.Service.ExternalIPs = name, nil, nil
			v.Service.Ports[0].Protocol, v.Service.Ports[0].NodePort = state.UDP, 0
			v.Sets[0].Groups[0].Ports[0].Protocol = state.UDP
			edit(&v.Sets[0].Groups[0], 1, drain)
			v.Local = nil
			if change != nil {
				change(v)
			}
		})
	}
	of := func(address string) []state.Group {
		g := group("http", 8080, address)
		g.Ports[0].Protocol = state.UDP
		return []state.Group{g}
	}
	for name, c := range map[string]struct {
		change func(*View)
		want   string
	}{
		"those that drain too": {nil, "map[UDP 10.96.0.1:80:[10.244.1.1:8080 10.244.2.1:8080]]"},
		"those of the node's own lists": {func(v *View) {
			v.Sets, v.Local = nil, &state.LocalEndpoints{Local: of("10.244.1.7"), Preferred: of("10.244.2.7")}
		}, "map[UDP 10.96.0.1:80:[10.244.1.7:8080 10.244.2.7:8080]]"},
		"nothing serves": {func(v *View) { v.Sets = nil }, "map[]"},
		"TCP is left alone": {func(v *View) {
			v.Service.Ports[0].Protocol, v.Sets[0].Groups[0].Ports[0].Protocol = state.TCP, state.TCP
		}, "map[]"},
		"a policy that bars": {func(v *View) { v.Service.InternalLocal = true }, "map[UDP 10.96.0.1:80:[10.244.1.1:8080 10.244.2.1:8080]]"},
	} {
		table := NewTable()
		names := slices.Values([]string{"demo/web", "demo/younger", "demo/unknown"})
		view := func(name string) View {
			switch name {
			case "demo/web":
				return udp(name, c.change)
			case "demo/younger":
				return udp(name, func(v *View) { v.Service.Created, v.Sets[0].Groups = 9, of("10.244.9.9") })
			}
			return View{}
		}
		table.Update(names, view)
		if name == "TCP is left alone" {
			names = slices.Values([]string{"demo/web"})
		}
		if got := fmt.Sprint(table.Serving(names, view)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
