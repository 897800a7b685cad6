package ruleset

import (
	"slices"
	"testing"

	"github.com/portolan-net/portolan/agent/internal/state"
)

func TestPortsWithoutALocalEndpointAreCounted(t *testing.T) {
	elsewhere := func(v *View) { v.Local = nil }
	tests := map[string]struct {
		change   func(*View)
		ip4, ip6 NoLocal
	}{
		"policies Cluster":      {elsewhere, NoLocal{}, NoLocal{}},
		"internal policy Local": {func(v *View) { elsewhere(v); v.Service.InternalLocal = true }, NoLocal{Internal: 1}, NoLocal{}},
		"external policy Local": {func(v *View) { elsewhere(v); v.Service.ExternalLocal = true }, NoLocal{External: 1}, NoLocal{}},
		"an endpoint here":      {func(v *View) { v.Service.InternalLocal, v.Service.ExternalLocal = true, true }, NoLocal{}, NoLocal{}},
		"no endpoint anywhere":  {func(v *View) { v.Service.InternalLocal, v.Sets, v.Local = true, nil, nil }, NoLocal{}, NoLocal{}},
		"every port of every family is one": {func(v *View) {
			elsewhere(v)
			v.Service.InternalLocal = true
			v.Service.ClusterIPs = addrs("10.96.0.1", "fd00:96::1")
			v.Service.Ports = append(v.Service.Ports, state.Port{Name: "metrics", Protocol: state.TCP, Port: 9090})
			v.Sets[0].Groups = append(v.Sets[0].Groups, group("metrics", 9090, "10.244.2.1"), group("http", 8080, "fd00:244:2::1"))
		}, NoLocal{Internal: 2}, NoLocal{Internal: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			names := slices.Values([]string{"demo/web"})
			table.Update(names, func(string) View { return web(test.change) })
			if ip4, ip6 := table.NoLocal(false), table.NoLocal(true); ip4 != test.ip4 || ip6 != test.ip6 {
				t.Errorf("%+v of IPv4 and %+v of IPv6, want %+v and %+v", ip4, ip6, test.ip4, test.ip6)
			}
			table.Update(names, func(string) View { return View{} })
			if table.noLocal != (byFamily{}) {
				t.Errorf("%v are left of a Service that is gone", table.noLocal)
			}
		})
	}
}
