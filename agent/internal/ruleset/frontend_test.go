package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/resource"
)

// TestFrontendsThatAskForAnythingElseAreNotTheSame: a difference that Same does not
// see never reaches the kernel.
func TestFrontendsThatAskForAnythingElseAreNotTheSame(t *testing.T) {
	base := func() *Frontend {
		return &Frontend{
			Key: Key{addrs("10.96.0.1")[0], state.TCP, 80}, Kind: resource.LoadBalancerIP, Service: "demo/web", Created: 1,
			Backends: PackBackends(backends("10.0.0.1:80", "10.0.0.2:80")...), LocalBackends: PackBackends(backends("10.0.0.1:80")...), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		}
	}
	for name, change := range map[string]func(*Frontend){
		"key":            func(f *Frontend) { f.Port = 81 },
		"kind":           func(f *Frontend) { f.Kind = resource.ExternalIP },
		"policy":         func(f *Frontend) { f.Local = true },
		"unserved":       func(f *Frontend) { f.Unserved = Drop },
		"masquerade":     func(f *Frontend) { f.Masquerade = true },
		"affinity":       func(f *Frontend) { f.Affinity = time.Hour },
		"filter":         func(f *Frontend) { f.Filtered = true },
		"ranges":         func(f *Frontend) { f.Allow = nil },
		"backends":       func(f *Frontend) { f.Backends = PackBackends(backends("10.0.0.1:80")...) },
		"order of slots": func(f *Frontend) { f.Backends = PackBackends(backends("10.0.0.2:80", "10.0.0.1:80")...) },
		"local backends": func(f *Frontend) { f.LocalBackends = Backends{} },
	} {
		if changed := base(); true {
			change(changed)
			if base().Same(changed) || changed.Same(base()) {
				t.Errorf("%s: the same", name)
			}
		}
	}
	renamed := base()
	renamed.Service, renamed.PortName, renamed.Created = "demo/other", "http", 2
	if !base().Same(renamed) || base().Same(nil) || (*Frontend)(nil).Same(base()) || !(*Frontend)(nil).Same(nil) {
		t.Error("whose it is matters to the kernel, or that there is one does not")
	}
}

func TestAnotherEnvironmentIsNoticed(t *testing.T) {
	for name, env := range map[string]Environment{
		"node port addresses":    {NodePortAddrs: addrs("192.168.0.2")},
		"the Node's addresses":   {NodeIPs: addrs("192.168.0.2")},
		"health check addresses": {HealthCheckAddrs: addrs("192.168.0.2")},
		"localhost node ports":   {LocalhostNodePorts: true},
	} {
		table := NewTable()
		if !table.SetEnvironment(env) || table.SetEnvironment(env) || !table.SetEnvironment(Environment{}) {
			t.Errorf("%s: a change is not told from none", name)
		}
	}
}

// keys lists the frontends in force.
func keys(table *Table) []string {
	var list []string
	for f := range table.Frontends() {
		list = append(list, f.Kind.String()+" "+f.Key.String()+" "+fmt.Sprint(f.Backends))
	}
	slices.Sort(list)
	return list
}

func TestEachFamilyHasItsOwnFrontends(t *testing.T) {
	table := NewTable()
	table.SetEnvironment(Environment{NodePortAddrs: addrs("192.168.0.2", "fd00:168::2")})
	table.Update(slices.Values([]string{"demo/web"}), func(string) View {
		return web(func(v *View) {
			v.Service.ExternalIPs, v.Service.LoadBalancerIPs = addrs("198.51.100.20", "2001:db8::20"), nil
			v.Sets[0].Groups = append(v.Sets[0].Groups, group("http", 8080, "fd00:244::1"))
		})
	})
	want := []string{
		"ClusterIP TCP 10.96.0.1:80 [10.244.1.1:8080 10.244.2.1:8080]",
		"ExternalIP TCP 198.51.100.20:80 [10.244.1.1:8080 10.244.2.1:8080]",
		"NodePort TCP 192.168.0.2:30080 [10.244.1.1:8080 10.244.2.1:8080]",
	}
	if diff := cmp.Diff(want, keys(table)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if table.LenOf(false) != 3 || table.LenOf(true) != 0 {
		t.Errorf("%d of IPv4 and %d of IPv6", table.LenOf(false), table.LenOf(true))
	}
}

func TestWhatServesAPort(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*View)
		want   string
	}{
		"a port without a node port has none": {func(v *View) { v.Service.Ports[0].NodePort = 0 }, "[10.244.1.1:8080 10.244.2.1:8080]"},
		"an endpoint that drains is not for new connections": {func(v *View) {
			edit(&v.Sets[0].Groups[0], 1, drain)
		}, "[10.244.1.1:8080]"},
		"an endpoint of another protocol does not serve": {func(v *View) {
			v.Sets[0].Groups[0].Ports[0].Protocol = state.UDP
		}, "[]"},
		"preferred endpoints of another port replace nothing": {func(v *View) {
			v.Local.Preferred = []state.Group{group("metrics", 9090, "10.244.1.1")}
		}, "[10.244.1.1:8080 10.244.2.1:8080]"},
	} {
		table := NewTable()
		table.SetEnvironment(node)
		table.Update(slices.Values([]string{"demo/web"}), func(string) View { return web(c.change) })
		if f := table.Frontend(Key{addrs("10.96.0.1")[0], state.TCP, 80}); fmt.Sprint(f.Backends) != c.want {
			t.Errorf("%s: %v, want %s", name, f.Backends, c.want)
		}
		if f := table.Frontend(Key{addrs("192.168.0.2")[0], state.TCP, 0}); f != nil {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// TestRangesFilterTheBalancersAddressesAlone is S33.
func TestRangesFilterTheBalancersAddressesAlone(t *testing.T) {
	table := NewTable()
	table.SetEnvironment(node)
	table.Update(slices.Values([]string{"demo/web"}), func(string) View {
		return web(func(v *View) { v.Service.SourceRanges = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} })
	})
	for f := range table.Frontends() {
		if f.Filtered != (f.Kind == resource.LoadBalancerIP) || f.Filtered != (len(f.Allow) > 0) {
			t.Errorf("%s %v: filtered %v, allowed %v", f.Kind, f.Key, f.Filtered, f.Allow)
		}
	}
}

func TestOfAServicesOwnClaimsToAKeyTheFirstInPrecedenceCounts(t *testing.T) {
	table := NewTable()
	table.SetEnvironment(node)
	table.Update(slices.Values([]string{"demo/web"}), func(string) View {
		return web(func(v *View) {
			v.Service.LoadBalancerIPs, v.Service.ExternalIPs = addrs("198.51.100.10"), addrs("198.51.100.10")
		})
	})
	if f := table.Frontend(Key{addrs("198.51.100.10")[0], state.TCP, 80}); f.Kind != resource.LoadBalancerIP {
		t.Errorf("%v is a %s", f.Key, f.Kind)
	}
	for key, queue := range table.Conflicts() {
		t.Errorf("%v waits for what its own Service has: %v", key, queue)
	}
}

// TestEndpointsHereAreHairpins of each port that they serve, whatever the policies.
func TestEndpointsHereAreHairpins(t *testing.T) {
	table := NewTable()
	view := web(nil)
	changes := table.Update(slices.Values([]string{"demo/web"}), func(string) View { return view })
	here := Hairpin{state.TCP, backends("10.244.1.1:8080")[0]}
	if !slices.Equal(changes.AddedHairpins, []Hairpin{here}) || !table.HasHairpin(here) {
		t.Errorf("hairpins %v, want %v", changes.AddedHairpins, here)
	}
}

func TestAChangeTouchesTheFamilyThatItIsOf(t *testing.T) {
	v4, v6 := addrs("10.96.0.1")[0], addrs("fd00:96::1")[0]
	for name, of := range map[string]func(netip.Addr) Changes{
		"a frontend":       func(a netip.Addr) Changes { return Changes{Frontends: []Change{{Old: &Frontend{Key: Key{Addr: a}}}}} },
		"a new ClusterIP":  func(a netip.Addr) Changes { return Changes{AddedClusterIPs: []netip.Addr{a}} },
		"a ClusterIP gone": func(a netip.Addr) Changes { return Changes{RemovedClusterIPs: []netip.Addr{a}} },
		"a new hairpin": func(a netip.Addr) Changes {
			return Changes{AddedHairpins: []Hairpin{{Endpoint: netip.AddrPortFrom(a, 1)}}}
		},
		"a hairpin gone": func(a netip.Addr) Changes {
			return Changes{RemovedHairpins: []Hairpin{{Endpoint: netip.AddrPortFrom(a, 1)}}}
		},
		"health checks only": func(netip.Addr) Changes { return Changes{HealthChecks: true, LocalhostPorts: true} },
	} {
		for _, addr := range []netip.Addr{v4, v6} {
			changes := of(addr)
			some := name != "health checks only"
			if changes.Touch(addr.Is6()) != some || changes.Touch(!addr.Is6()) || changes.Empty() == some {
				t.Errorf("%s of %s: touches IPv4 %v, IPv6 %v", name, addr, changes.Touch(false), changes.Touch(true))
			}
		}
	}
}
