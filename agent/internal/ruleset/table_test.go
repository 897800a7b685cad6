package ruleset

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/resource"
)

func addrs(texts ...string) []netip.Addr {
	list := make([]netip.Addr, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddr(text)
	}
	return list
}

func backends(texts ...string) []netip.AddrPort {
	list := make([]netip.AddrPort, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddrPort(text)
	}
	return list
}

func group(name string, port uint16, addresses ...string) state.Group {
	g := state.Group{Ports: []state.EndpointPort{{Name: name, Protocol: state.TCP, Port: port}}}
	var list []state.Endpoint
	for _, a := range addrs(addresses...) {
		list = append(list, state.Endpoint{Addr: a})
	}
	g.Endpoints = state.PackEndpoints(list...)
	return g
}

// edit changes an endpoint of a group.
func edit(g *state.Group, i int, change func(*state.Endpoint)) {
	list := slices.Collect(g.Endpoints.All())
	change(&list[i])
	g.Endpoints = state.PackEndpoints(list...)
}

func drain(e *state.Endpoint) { e.Draining = true }

// web is a Service of every kind of address, with endpoints elsewhere (…2.1) and,
// if local, here (…1.1).
func web(change func(*View)) View {
	v := View{
		Service: &state.Service{
			Name: "demo/web", ClusterIPs: addrs("10.96.0.1"), ExternalIPs: addrs("198.51.100.20"), LoadBalancerIPs: addrs("198.51.100.10"),
			Ports: []state.Port{{Name: "http", Protocol: state.TCP, Port: 80, NodePort: 30080}},
		},
		Sets:  []*state.EndpointSet{{Name: "demo/web-1", Service: "demo/web", Groups: []state.Group{group("http", 8080, "10.244.1.1", "10.244.2.1")}}},
		Local: &state.LocalEndpoints{Name: "demo/web", Local: []state.Group{group("http", 8080, "10.244.1.1")}},
	}
	if change != nil {
		change(&v)
	}
	return v
}

var node = Environment{NodePortAddrs: addrs("192.168.0.2"), NodeIPs: addrs("192.168.0.2")}

func TestFrontends(t *testing.T) {
	both, here := backends("10.244.1.1:8080", "10.244.2.1:8080"), backends("10.244.1.1:8080")
	remote := func(v *View) {
		v.Local = nil
		v.Sets[0].Groups[0] = group("http", 8080, "10.244.2.1")
	}
	none := func(v *View) { v.Local, v.Sets = nil, nil }
	type want struct {
		backends, local         []netip.AddrPort
		isLocal, masq, filtered bool
		unserved                Unserved
	}
	tests := map[string]struct {
		change   func(*View)
		cluster  want
		balancer want
	}{
		"policies Cluster": {nil,
			want{backends: both}, want{backends: both, masq: true}},
		"external policy Local keeps the source and gives outside traffic local endpoints": {
			func(v *View) { v.Service.ExternalLocal = true },
			want{backends: both}, want{backends: both, isLocal: true, local: here}},
		"external policy Local without local endpoint drops outside traffic only": {
			func(v *View) { v.Service.ExternalLocal = true; remote(v) },
			want{backends: backends("10.244.2.1:8080")}, want{backends: backends("10.244.2.1:8080"), isLocal: true, unserved: Drop}},
		"internal policy Local restricts the cluster IP only": {
			func(v *View) { v.Service.InternalLocal = true },
			want{backends: here}, want{backends: both, masq: true}},
		"internal policy Local without local endpoint drops": {
			func(v *View) { v.Service.InternalLocal = true; remote(v) },
			want{unserved: Drop}, want{backends: backends("10.244.2.1:8080"), masq: true}},
		"no endpoint anywhere is refused whatever the policy": {
			func(v *View) { v.Service.InternalLocal, v.Service.ExternalLocal = true, true; none(v) },
			want{unserved: Reject}, want{isLocal: true, unserved: Reject}},
		"source ranges filter the load-balancer address": {
			func(v *View) { v.Service.SourceRanges = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} },
			want{backends: both}, want{backends: both, masq: true, filtered: true}},
		"source ranges of the other family are no filter": {
			func(v *View) { v.Service.SourceRanges = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")} },
			want{backends: both}, want{backends: both, masq: true}},
		"preferred endpoints replace those of the sets": {
			func(v *View) { v.Local.Preferred = []state.Group{group("http", 8080, "10.244.1.1")} },
			want{backends: here}, want{backends: here, masq: true}},
		"endpoints of another port name do not serve": {
			func(v *View) { v.Sets[0].Groups[0].Ports[0].Name = "metrics"; v.Local = nil },
			want{unserved: Reject}, want{masq: true, unserved: Reject}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			table.SetEnvironment(node)
			table.Update(slices.Values([]string{"demo/web"}), func(string) View { return web(test.change) })
			for address, want := range map[string]want{"10.96.0.1:80": test.cluster, "198.51.100.10:80": test.balancer} {
				ap := netip.MustParseAddrPort(address)
				f := table.owner[Key{ap.Addr(), state.TCP, ap.Port()}]
				got := struct {
					Backends, Local         Backends
					IsLocal, Masq, Filtered bool
					Unserved                Unserved
				}{f.Backends, f.LocalBackends, f.Local, f.Masquerade, f.Filtered, f.Unserved}
				if diff := cmp.Diff(fmt.Sprint(want.backends, want.local, want.isLocal, want.masq, want.filtered, want.unserved),
					fmt.Sprint(got.Backends, got.Local, got.IsLocal, got.Masq, got.Filtered, got.Unserved)); diff != "" {
					t.Errorf("%s (-want +got)\n%s", address, diff)
				}
			}
		})
	}
}

func TestANodeInTheRangeMayUseTheBalancersAddressAsSource(t *testing.T) {
	ranges := []netip.Prefix{netip.MustParsePrefix("192.168.0.0/24"), netip.MustParsePrefix("192.168.0.0/25")}
	got := allowed(ranges, netip.MustParseAddr("198.51.100.10"), node)
	if want := "[192.168.0.0/24 198.51.100.10/32]"; fmt.Sprint(got) != want {
		t.Errorf("allowed %v, want %s", got, want)
	}
	if got := allowed(ranges[1:], netip.MustParseAddr("198.51.100.10"), Environment{NodeIPs: addrs("192.168.0.200")}); len(got) != 1 {
		t.Errorf("allowed %v, want the range alone: the node is not in it", got)
	}
}

func TestExactAddressWinsOverNodePort(t *testing.T) {
	table := NewTable()
	table.SetEnvironment(node)
	byPort := web(nil)
	exact := web(func(v *View) {
		v.Service.Name, v.Service.Created = "demo/exact", 1
		v.Service.ClusterIPs, v.Service.ExternalIPs = addrs("10.96.0.2"), addrs("192.168.0.2")
		v.Service.Ports[0].Port, v.Service.Ports[0].NodePort = 30080, 0
	})
	views := map[string]View{"demo/web": byPort, "demo/exact": exact}
	view := func(name string) View { return views[name] }
	table.Update(maps.Keys(views), view)
	key := Key{addrs("192.168.0.2")[0], state.TCP, 30080}
	if got := table.owner[key].Service; got != "demo/exact" {
		t.Errorf("%v is owned by %s, want the external IP's Service", key, got)
	}
	views["demo/exact"] = View{}
	changes := table.Update(slices.Values([]string{"demo/exact"}), view)
	if got := table.owner[key]; got == nil || got.Kind != resource.NodePort {
		t.Errorf("after the external IP went away %v is %v, want the node port", key, got)
	}
	if !slices.ContainsFunc(changes.Frontends, func(c Change) bool { return c.Key() == key && c.Old != nil && c.New != nil }) {
		t.Error("the takeover is not among the changes")
	}
}

func TestAnUpdateThatChangesNothingIsEmpty(t *testing.T) {
	table := NewTable()
	update := func() Changes {
		return table.Update(slices.Values([]string{"demo/web"}), func(string) View { return web(nil) })
	}
	if first := update(); first.Empty() {
		t.Error("the first update is empty")
	}
	if second := update(); !second.Empty() {
		t.Errorf("the second update changes %v", second)
	}
}

func TestArrangeMovesAsFewBackendsAsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := rapid.SliceOfNDistinct(rapid.IntRange(0, 15), 0, 12, rapid.ID[int])
		backend := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)
		}
		var slots []netip.AddrPort
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			var want []netip.AddrPort
			for _, i := range pool.Draw(t, "want") {
				want = append(want, backend(i))
			}
			next := arrange(slots, want)
			sorted := slices.Clone(next)
			slices.SortFunc(sorted, netip.AddrPort.Compare)
			slices.SortFunc(want, netip.AddrPort.Compare)
			if !slices.Equal(sorted, want) {
				t.Fatalf("slots %v do not hold %v", next, want)
			}
			for i, b := range slots {
				if i < len(next) && slices.Contains(want, b) && next[i] != b {
					t.Fatalf("%v left slot %d of %v for no reason: %v", b, i, slots, next)
				}
			}
			slots = next
		}
	})
}

// TestChangesLeadToTheSameTableAsBuildingItAnew drives random Services that share
// addresses and follows the changes as a data plane does.
func TestChangesLeadToTheSameTableAsBuildingItAnew(t *testing.T) {
	names := []string{"a/a", "b/b", "c/c"}
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable()
		views := map[string]View{}
		view := func(name string) View { return views[name] }
		followed := map[Key]*Frontend{}
		hairpins, clusterIPs := map[Hairpin]bool{}, map[netip.Addr]bool{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			dirty := map[string]struct{}{}
			for _, name := range names {
				if rapid.Bool().Draw(t, "change "+name) {
					views[name] = randomView(t, name)
					dirty[name] = struct{}{}
				}
			}
			changed := maps.Keys(dirty)
			if table.SetEnvironment(rapid.SampledFrom([]Environment{{}, node}).Draw(t, "environment")) {
				changed = slices.Values(names)
			}
			follow(t, table.Update(changed, view), followed, hairpins, clusterIPs)
		}
		anew := NewTable()
		anew.SetEnvironment(table.env)
		anew.Update(slices.Values(names), view)
		compareTables(t, anew, table, followed, hairpins, clusterIPs)
	})
}

func follow(t *rapid.T, changes Changes, followed map[Key]*Frontend, hairpins map[Hairpin]bool, clusterIPs map[netip.Addr]bool) {
	for _, c := range changes.Frontends {
		if !c.Old.Same(followed[c.Key()]) {
			t.Fatalf("change of %v says it was %v, but it was %v", c.Key(), c.Old, followed[c.Key()])
		}
		if c.New == nil {
			delete(followed, c.Key())
			continue
		}
		followed[c.Key()] = c.New
	}
	change(hairpins, changes.AddedHairpins, changes.RemovedHairpins)
	change(clusterIPs, changes.AddedClusterIPs, changes.RemovedClusterIPs)
}

func change[T comparable](set map[T]bool, added, removed []T) {
	for _, m := range removed {
		delete(set, m)
	}
	for _, m := range added {
		set[m] = true
	}
}

func compareTables(t *rapid.T, anew, table *Table, followed map[Key]*Frontend, hairpins map[Hairpin]bool, clusterIPs map[netip.Addr]bool) {
	if len(anew.owner) != len(followed) || len(table.owner) != len(followed) {
		t.Fatalf("%d frontends anew, %d by changes, %d in the table", len(anew.owner), len(followed), len(table.owner))
	}
	for key, want := range anew.owner {
		if got := followed[key]; !sameButForSlots(want, got) {
			t.Fatalf("%v is %+v, anew it is %+v", key, got, want)
		}
		if got := table.owner[key]; got.Service != want.Service {
			t.Fatalf("%v belongs to %s, anew to %s", key, got.Service, want.Service)
		}
	}
	if anew.noLocal != table.noLocal {
		t.Fatalf("ports without local endpoint %v, anew %v", table.noLocal, anew.noLocal)
	}
	if !maps.Equal(counted2set(anew.hairpins), hairpins) || !maps.Equal(counted2set(anew.clusterIPs), clusterIPs) {
		t.Fatalf("hairpins %v, cluster IPs %v; anew %v, %v", hairpins, clusterIPs, anew.hairpins, anew.clusterIPs)
	}
}

func counted2set[T comparable](c counted[T]) map[T]bool {
	set := map[T]bool{}
	for m := range c {
		set[m] = true
	}
	return set
}

// sameButForSlots compares frontends with their backends as sets: slots depend on
// history.
func sameButForSlots(a, b *Frontend) bool {
	if a == nil || b == nil {
		return a == b
	}
	sorted := func(backends Backends) Backends {
		list := backends.List()
		slices.SortFunc(list, netip.AddrPort.Compare)
		return PackBackends(list...)
	}
	x, y := *a, *b
	x.Backends, x.LocalBackends = sorted(a.Backends), sorted(a.LocalBackends)
	y.Backends, y.LocalBackends = sorted(b.Backends), sorted(b.LocalBackends)
	return x.Same(&y)
}

func randomView(t *rapid.T, name string) View {
	if rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
		return View{}
	}
	pick := func(label string, pool []string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, len(pool), rapid.ID[string]).Draw(t, label)
	}
	endpoints := pick("endpoints", []string{"10.244.1.1", "10.244.1.2", "10.244.2.1", "10.244.2.2"})
	v := View{
		Service: &state.Service{
			Name: name, ClusterIPs: addrs(rapid.SampledFrom([]string{"10.96.0.1", "10.96.0.2"}).Draw(t, "cluster IP")),
			ExternalIPs:     addrs(pick("external", []string{"198.51.100.1", "192.168.0.2"})...),
			LoadBalancerIPs: addrs(pick("balancer", []string{"198.51.100.1", "198.51.100.2"})...),
			Ports:           []state.Port{{Name: "http", Protocol: state.TCP, Port: 80, NodePort: rapid.SampledFrom([]uint16{0, 80, 30080}).Draw(t, "node port")}},
			InternalLocal:   rapid.Bool().Draw(t, "internal local"),
			ExternalLocal:   rapid.Bool().Draw(t, "external local"),
			Affinity:        rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "affinity"),
			Created:         rapid.Int64Range(0, 2).Draw(t, "created"),
		},
		Sets: []*state.EndpointSet{{Name: name + "-1", Service: name, Groups: []state.Group{group("http", 8080, endpoints...)}}},
	}
	if len(endpoints) > 0 && rapid.Bool().Draw(t, "has local") {
		v.Local = &state.LocalEndpoints{Name: name, Local: []state.Group{group("http", 8080, endpoints[0])}}
	}
	return v
}
