package ruleset

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/agent/internal/state"
)

// sized returns a Service with n backends.
func sized(name string, n int) View {
	var endpoints []string
	for i := range n {
		endpoints = append(endpoints, fmt.Sprintf("10.244.%d.%d", i/250, i%250+1))
	}
	return View{
		Service: &state.Service{Name: name, ClusterIPs: addrs("10.96.0." + strings.TrimPrefix(name, "demo/s")),
			Ports: []state.Port{{Name: "http", Protocol: state.TCP, Port: 80}}},
		Sets: []*state.EndpointSet{{Name: name, Service: name, Groups: []state.Group{group("http", 8080, endpoints...)}}},
	}
}

func TestWhatIsBeyondALimitKeepsWhatItHas(t *testing.T) {
	table := NewTable()
	table.SetLimits(Limits{Service: 100, Node: 150})
	services := map[string]View{}
	update := func(name string, n int) Changes {
		services[name] = sized(name, n)
		if n == 0 {
			services[name] = View{}
		}
		return table.Update(slices.Values([]string{name}), func(name string) View { return services[name] })
	}
	expect := func(when string, backends map[string]int, excess ...string) {
		t.Helper()
		got := map[string]int{}
		for f := range table.Frontends() {
			got[f.Service] = f.Backends.Len()
		}
		if !maps.Equal(got, backends) {
			t.Errorf("%s: backends %v, want %v", when, got, backends)
		}
		var names []string
		for name, reason := range table.Excess() {
			names = append(names, name)
			if !strings.Contains(reason, "expected at most") {
				t.Errorf("%s: %s: %s", when, name, reason)
			}
		}
		if !slices.Equal(names, excess) {
			t.Errorf("%s: beyond a limit: %v, want %v", when, names, excess)
		}
	}
	update("demo/s1", 80)
	update("demo/s2", 50)
	expect("within the limits", map[string]int{"demo/s1": 80, "demo/s2": 50})
	update("demo/s2", 97)
	expect("a Service beyond its own limit", map[string]int{"demo/s1": 80, "demo/s2": 50}, "demo/s2")
	update("demo/s3", 30)
	expect("a new Service for which there is no room", map[string]int{"demo/s1": 80, "demo/s2": 50}, "demo/s2", "demo/s3")
	update("demo/s2", 40)
	expect("a Service that shrinks, and not by enough for another", map[string]int{"demo/s1": 80, "demo/s2": 40}, "demo/s3")
	changes := update("demo/s1", 0)
	expect("room for those that wait", map[string]int{"demo/s2": 40, "demo/s3": 30})
	if len(changes.Frontends) != 2 {
		t.Errorf("%d changed frontends, want the one that goes and the one that comes", len(changes.Frontends))
	}
	for _, name := range []string{"demo/s2", "demo/s3"} {
		update(name, 0)
	}
	expect("nothing", map[string]int{})
	if table.budget.taken != 0 {
		t.Errorf("%d elements are taken by nothing", table.budget.taken)
	}
}
