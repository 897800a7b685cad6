package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
)

// fakeAddresses are those on a dummy interface.
type fakeAddresses struct {
	on      addrSet
	removed bool
}

func (f *fakeAddresses) bound() (addrSet, error)      { return maps.Clone(f.on), nil }
func (f *fakeAddresses) bind(addr netip.Addr) error   { f.on[addr] = struct{}{}; return nil }
func (f *fakeAddresses) unbind(addr netip.Addr) error { delete(f.on, addr); return nil }
func (f *fakeAddresses) remove() error                { f.removed = true; return nil }
func (f *fakeAddresses) close()                       {}

func (f *fakeAddresses) String() string {
	var list []string
	for addr := range f.on {
		list = append(list, addr.String())
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// rig is a plane on fakes, with the table that it follows.
type rig struct {
	*Plane
	t        testing.TB
	kernel   *fakeKernel
	on       *fakeAddresses
	beside   *fake.Plane
	settings dataplane.Settings
	table    *ruleset.Table
	views    map[string]ruleset.View
	clock    time.Time
}

func newRig(t testing.TB) *rig {
	r := &rig{
		t: t, kernel: newFakeKernel(), on: &fakeAddresses{on: addrSet{}}, beside: fake.New(dataplane.IPv4),
		settings: dataplane.Settings{IPVS: &dataplane.IPVS{OwnAddrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		table:    ruleset.NewTable(), views: map[string]ruleset.View{}, clock: time.Unix(1_700_000_000, 0),
	}
	r.table.SetEnvironment(ruleset.Environment{NodePortAddrs: r.settings.IPVS.OwnAddrs})
	r.restart()
	return r
}

// restart makes a plane that knows nothing of the one before.
func (r *rig) restart() {
	r.Plane = newPlane(hclog.NewNullLogger(), r.beside, r.on)
	r.open = func() (kernel, error) { return r.kernel, nil }
	r.sysctls = func(bool) sysctl.Report { return sysctl.Report{} }
	r.now = func() time.Time { return r.clock }
}

// service makes a Service at 10.96.0.N with endpoints, of which some have weights:
// "10.244.0.1*3".
func service(n int, change func(*state.Service), endpoints ...string) ruleset.View {
	name := fmt.Sprintf("demo/s%d", n)
	s := &state.Service{Name: name, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(n)})}, Ports: []state.Port{{Protocol: state.TCP, Port: 80}}}
	if change != nil {
		change(s)
	}
	group := state.Group{}
	for _, p := range s.Ports {
		group.Ports = append(group.Ports, state.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: 8080})
	}
	var list []state.Endpoint
	for _, text := range endpoints {
		addr, weight, _ := strings.Cut(text, "*")
		e := state.Endpoint{Addr: netip.MustParseAddr(addr)}
		_, _ = fmt.Sscan(weight, &e.Weight)
		list = append(list, e)
	}
	group.Endpoints = state.PackEndpoints(list...)
	return ruleset.View{Service: s, Sets: []*state.EndpointSet{{Name: name + "-1", Service: name, Groups: []state.Group{group}}}}
}

// update tells the table and returns what changed.
func (r *rig) update(views ...ruleset.View) *ruleset.Changes {
	var names []string
	for _, v := range views {
		r.views[v.Service.Name] = v
		names = append(names, v.Service.Name)
	}
	return r.changed(names...)
}

func (r *rig) changed(names ...string) *ruleset.Changes {
	changes := r.table.Update(slices.Values(names), func(name string) ruleset.View { return r.views[name] })
	return &changes
}

func (r *rig) delete(n int) *ruleset.Changes {
	name := fmt.Sprintf("demo/s%d", n)
	delete(r.views, name)
	return r.changed(name)
}

func (r *rig) replace() {
	r.t.Helper()
	r.must(r.Replace(context.Background(), r.settings, r.table))
}

func (r *rig) apply(changes *ruleset.Changes) {
	r.t.Helper()
	r.must(r.Apply(context.Background(), changes))
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestAKernelWithoutIPVSIsAskedAgain: a module may be loaded later, and until then what
// worked before serves.
func TestAKernelWithoutIPVSIsAskedAgain(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1"))
	r.open = func() (kernel, error) { return (*moby)(nil), errNoIPVS } // As openKernel does.
	for range 3 {
		if err := r.Replace(t.Context(), r.settings, r.table); !errors.Is(err, errNoIPVS) {
			t.Fatalf("error %v, want %v", err, errNoIPVS)
		}
	}
	r.open = func() (kernel, error) { return r.kernel, nil }
	r.replace()
	if !strings.Contains(r.kernel.text(), "10.244.0.1") {
		t.Errorf("it is not served by IPVS then:\n%s", r.kernel.text())
	}
}

// did compares the steps since the last call.
func (r *rig) did(want ...string) {
	r.t.Helper()
	got := slices.DeleteFunc(r.kernel.steps, func(s string) bool { return strings.Contains(s, "198.51.100.0:20000") })
	r.kernel.steps = nil
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		r.t.Errorf("steps (-want +got)\n%s", diff)
	}
}

func (r *rig) holds(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), r.kernel.text()); diff != "" {
		r.t.Errorf("kernel (-want +got)\n%s", diff)
	}
}

func TestOnlyWhatDiffersIsTouched(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1", "10.244.0.2*3"))
	r.replace()
	r.did("add TCP 10.96.0.1:80 rr", "add TCP 10.96.0.1:80 > 10.244.0.1:8080 1", "add TCP 10.96.0.1:80 > 10.244.0.2:8080 3")
	calls := r.beside.Calls().Apply
	r.apply(r.update(service(1, nil, "10.244.0.3", "10.244.0.2*2")))
	r.did("add TCP 10.96.0.1:80 > 10.244.0.3:8080 1", "change TCP 10.96.0.1:80 > 10.244.0.2:8080 2", "delete TCP 10.96.0.1:80 > 10.244.0.1:8080")
	if r.beside.Calls().Apply != calls {
		t.Error("nftables had to do with a change of endpoints")
	}
	sticky := func(s *state.Service) { s.Affinity, s.Scheduler = time.Hour, "mh" }
	r.apply(r.update(service(1, sticky, "10.244.0.3", "10.244.0.2*2")))
	r.did("change TCP 10.96.0.1:80 mh")
	if got := r.kernel.held[key80(1)]; got.flags != flagPersistent|flagScheduler2 || got.persistence != time.Hour {
		t.Errorf("the virtual server is %+v", got.server)
	}
	r.replace()
	r.did()
	r.restart()
	if !r.Adopt(context.Background(), r.settings, r.table) {
		t.Error("what is as it should be was not adopted")
	}
	r.apply(r.delete(1))
	r.did("delete TCP 10.96.0.1:80")
	if r.on.String() != "" {
		t.Errorf("bound: %s", r.on)
	}
}

func key80(n int) ruleset.Key {
	return ruleset.Key{Addr: netip.AddrFrom4([4]byte{10, 96, 0, byte(n)}), Protocol: state.TCP, Port: 80}
}

func TestAddressesOfServicesAreBoundAndThoseOfTheNodeAreNot(t *testing.T) {
	r := newRig(t)
	r.update(service(1, func(s *state.Service) {
		s.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
		s.ExternalIPs = r.settings.IPVS.OwnAddrs
		s.Ports[0].NodePort = 30080
	}, "10.244.0.1"))
	r.replace()
	if got := r.on.String(); got != "10.96.0.1 203.0.113.9" {
		t.Errorf("bound: %s", got)
	}
	if n := len(r.kernel.held); n != 4 {
		t.Errorf("%d virtual servers: expected those of the ClusterIP, the load-balancer IP, the external IP and the node port", n)
	}
}

func TestADestinationWithConnectionsDrains(t *testing.T) {
	r := newRig(t)
	one := netip.MustParseAddrPort("10.244.0.1:8080")
	r.update(service(1, nil, "10.244.0.1", "10.244.0.2"))
	r.replace()
	r.kernel.busy[one] = true
	r.kernel.steps = nil
	r.apply(r.update(service(1, nil, "10.244.0.2")))
	r.did("change TCP 10.96.0.1:80 > 10.244.0.1:8080 0")
	for range 3 { // It stays while it has connections, whatever else is done.
		if !r.Pending() {
			t.Fatal("nothing to wait for")
		}
		_, err := r.Collect(context.Background())
		r.must(err)
		r.replace()
		r.restartDraining()
	}
	r.did()
	r.apply(r.update(service(1, nil, "10.244.0.1", "10.244.0.2")))
	r.did("change TCP 10.96.0.1:80 > 10.244.0.1:8080 1") // One that returns is whole again.
	r.apply(r.update(service(1, nil, "10.244.0.2")))
	r.kernel.busy[one] = false
	r.kernel.steps = nil
	_, err := r.Collect(context.Background())
	r.must(err)
	r.did("delete TCP 10.96.0.1:80 > 10.244.0.1:8080")
	if r.Pending() {
		t.Error("still something to wait for")
	}
}

// restartDraining restarts and has everything read anew.
func (r *rig) restartDraining() {
	r.restart()
	r.replace()
}

func TestDrainingEndsAtItsLimit(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1"))
	r.replace()
	r.kernel.busy[netip.MustParseAddrPort("10.244.0.1:8080")] = true
	r.kernel.steps = nil
	r.apply(r.update(service(1, nil)))
	r.did("change TCP 10.96.0.1:80 > 10.244.0.1:8080 0")
	r.clock = r.clock.Add(drainLimit - time.Second)
	_, err := r.Collect(context.Background())
	r.must(err)
	r.did()
	r.clock = r.clock.Add(time.Second)
	_, err = r.Collect(context.Background())
	r.must(err)
	if r.did("delete TCP 10.96.0.1:80"); r.Pending() {
		t.Error("still something to wait for")
	}
}

func TestUDPAndWhatNoServiceHasDoNotDrain(t *testing.T) {
	r := newRig(t)
	r.update(service(1, func(s *state.Service) { s.Ports[0].Protocol = state.UDP }, "10.244.0.1", "10.244.0.2"),
		service(2, func(s *state.Service) { s.Ports[0].NodePort = 30080 }, "10.244.0.3"))
	r.replace()
	for _, text := range []string{"10.244.0.1:8080", "10.244.0.3:8080"} {
		r.kernel.busy[netip.MustParseAddrPort(text)] = true
	}
	r.kernel.steps = nil
	r.apply(r.update(service(1, func(s *state.Service) { s.Ports[0].Protocol = state.UDP }, "10.244.0.2")))
	r.did("delete UDP 10.96.0.1:80 > 10.244.0.1:8080")
	r.apply(r.update(service(2, nil, "10.244.0.3")))
	r.did("delete TCP 192.0.2.1:30080")
	r.apply(r.delete(2))
	if r.did("delete TCP 10.96.0.2:80"); r.on.String() != "10.96.0.1" || len(r.drains) > 0 {
		t.Errorf("bound: %s, draining: %v", r.on, r.drains)
	}
}

func TestASchedulerThatTheKernelDoesNotHave(t *testing.T) {
	r := newRig(t)
	r.kernel.missing = []string{"ovf"}
	r.update(service(1, func(s *state.Service) { s.Scheduler = "ovf" }, "10.244.0.1"), service(2, func(s *state.Service) { s.Scheduler = "lc" }, "10.244.0.1"))
	r.replace()
	if got := r.kernel.held[key80(1)].scheduler + " " + r.kernel.held[key80(2)].scheduler; got != "rr lc" {
		t.Errorf("schedulers %s", got)
	}
	warnings := r.Warnings()
	if len(warnings) != 1 || warnings[0].Service != "demo/s1" || !strings.Contains(warnings[0].Message, `scheduler "ovf"`) {
		t.Errorf("warnings %+v", warnings)
	}
	r.apply(r.update(service(1, nil, "10.244.0.1")))
	if len(r.Warnings()) > 0 {
		t.Errorf("still warns: %+v", r.Warnings())
	}
	before := r.kernel.text()
	r.settings.IPVS = &dataplane.IPVS{Scheduler: "ovf"}
	err := r.Replace(context.Background(), r.settings, r.table)
	if err == nil || !strings.Contains(err.Error(), `ipvs.scheduler "ovf"`) || r.kernel.text() != before {
		t.Errorf("error %v, holds\n%s", err, r.kernel.text())
	}
	r.update(service(3, nil, "10.244.0.3"))
	if err := r.Replace(context.Background(), r.settings, r.table); err == nil || r.kernel.held[key80(3)] == nil || r.kernel.held[key80(3)].scheduler != "rr" {
		t.Errorf("error %v; what has nothing to do with it is not served:\n%s", err, r.kernel.text())
	}
}

// TestWithoutIPVSNftablesServes, and it is said that it was to be otherwise.
func TestWithoutIPVSNftablesServes(t *testing.T) {
	r := newRig(t)
	r.open = func() (kernel, error) { return nil, errNoIPVS }
	for i := range 2 {
		r.update(service(i+1, nil, "10.244.0.1"))
		if err := r.Replace(context.Background(), r.settings, r.table); !errors.Is(err, errNoIPVS) {
			t.Errorf("error %v", err)
		}
		if backends, _ := r.beside.Backends(key80(i + 1)); len(backends) != 1 {
			t.Errorf("backends %v", backends)
		}
	}
}

// TestTheModeIsSwitchedWithoutAGap: IPVS serves before nftables stops to, and nftables
// before IPVS does.
func TestTheModeIsSwitchedWithoutAGap(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1"), service(2, nil, "10.244.0.2"))
	ipvs := r.settings.IPVS
	r.settings.IPVS = nil
	r.replace()
	r.did()
	backends, _ := r.beside.Backends(key80(1))
	if len(backends) != 1 || r.on.String() != "" {
		t.Errorf("in nftables mode: %v, bound %s", backends, r.on)
	}
	r.settings.IPVS = ipvs
	r.beside.Fail(fmt.Errorf("no"))
	if err := r.Replace(context.Background(), r.settings, r.table); err == nil {
		t.Fatal("nftables failed and nobody says so")
	}
	r.holds("TCP 10.96.0.1:80 > 10.244.0.1:8080 1", "TCP 10.96.0.1:80 rr", "TCP 10.96.0.2:80 > 10.244.0.2:8080 1", "TCP 10.96.0.2:80 rr")
	r.beside.Fail(nil)
	r.replace()
	if backends, _ := r.beside.Backends(key80(1)); len(backends) != 0 || r.on.String() != "10.96.0.1 10.96.0.2" {
		t.Errorf("in IPVS mode nftables has %v, bound %s", backends, r.on)
	}
	r.kernel.busy[netip.MustParseAddrPort("10.244.0.1:8080")] = true
	r.settings.IPVS = nil
	r.replace()
	r.holds("TCP 10.96.0.1:80 > 10.244.0.1:8080 0", "TCP 10.96.0.1:80 rr")
	if backends, _ := r.beside.Backends(key80(1)); len(backends) != 1 || r.on.String() != "10.96.0.1" {
		t.Errorf("back in nftables mode: %v, bound %s", backends, r.on)
	}
	r.apply(r.update(service(1, nil, "10.244.0.9")))
	clear(r.kernel.busy)
	_, err := r.Collect(context.Background())
	r.must(err)
	if r.holds(); !r.on.removed || r.Pending() {
		t.Error("something of IPVS is left")
	}
}

func TestWhatIsExcludedIsLeftAlone(t *testing.T) {
	r := newRig(t)
	theirs := server{Key: key80(200), scheduler: "wlc"}
	r.must(r.kernel.addServer(theirs))
	r.settings.IPVS.Exclude = []netip.Prefix{netip.MustParsePrefix("10.96.0.200/32")}
	r.replace()
	if r.kernel.held[theirs.Key] == nil {
		t.Error("an excluded virtual server is gone")
	}
	r.settings.IPVS.Exclude = nil
	r.replace()
	if r.kernel.held[theirs.Key] != nil {
		t.Error("one that nobody knows stays")
	}
}

func TestForeignChangesAreNoticed(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1"))
	r.replace()
	for name, disturb := range map[string]func(){
		"a server is gone":      func() { delete(r.kernel.held, key80(1)) },
		"another has come":      func() { r.must(r.kernel.addServer(server{Key: key80(9), scheduler: "rr"})) },
		"a scheduler differs":   func() { r.kernel.held[key80(1)].scheduler = "lc" },
		"an address is unbound": func() { clear(r.on.on) },
	} {
		r.clock = r.clock.Add(lookEvery)
		if disturbed, err := r.Disturbed(context.Background()); disturbed || err != nil {
			t.Fatalf("before %s: %v, %v", name, disturbed, err)
		}
		disturb()
		r.clock = r.clock.Add(lookEvery)
		if disturbed, err := r.Disturbed(context.Background()); !disturbed || err != nil {
			t.Errorf("%s: %v, %v", name, disturbed, err)
		}
		r.replace()
	}
}

// differences has the plane compare the kernel with the table.
func (r *rig) differences() []dataplane.Difference {
	found, err := r.Compare(context.Background(), r.settings, r.table)
	r.must(err)
	return found
}

// texts returns differences as text, the place, the key, what is wanted and what was found.
func texts(list []dataplane.Difference) string {
	var lines []string
	for _, d := range list {
		lines = append(lines, fmt.Sprintf("%s|%s|%s|%s", d.Place, d.Key, d.Wanted, d.Found))
	}
	return strings.Join(lines, ";")
}

func TestWhatDiffersIsListed(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1*2"))
	for want, disturb := range map[string]func(){
		"ipvs|TCP 10.96.0.1:80|scheduler rr|;ipvs|TCP 10.96.0.1:80 > 10.244.0.1:8080|weight 2|": func() { delete(r.kernel.held, key80(1)) },
		"ipvs|TCP 10.96.0.9:80||a virtual server":                                               func() { r.must(r.kernel.addServer(server{Key: key80(9), scheduler: "rr"})) },
		"ipvs|TCP 10.96.0.1:80|scheduler rr|another scheduler or persistence":                   func() { r.kernel.held[key80(1)].scheduler = "lc" },
		"ipvs|TCP 10.96.0.1:80 > 10.244.0.1:8080|weight 2|another weight": func() {
			r.kernel.held[key80(1)].destinations[netip.MustParseAddrPort("10.244.0.1:8080")] = 1
		},
		"ipvs|TCP 10.96.0.1:80 > 10.244.0.7:8080||a destination": func() {
			r.kernel.held[key80(1)].destinations[netip.MustParseAddrPort("10.244.0.7:8080")] = 1
		},
		"interface portolan-ipvs|10.96.0.1|an address|": func() { clear(r.on.on) },
		"fake|TCP 10.96.0.1:80|a frontend|":             func() { r.beside.Lose(key80(1)) },
	} {
		r.replace()
		if found := r.differences(); len(found) > 0 {
			t.Fatalf("before %s: %+v", want, found)
		}
		disturb()
		for range 2 { // To compare changes nothing.
			if got := texts(r.differences()); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
}

func TestCleanupLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1"))
	r.replace()
	r.restart()
	r.must(r.Cleanup(context.Background()))
	if r.holds(); r.on.String() != "" || !r.on.removed {
		t.Errorf("bound: %s", r.on)
	}
}

// TestAnErrorNamesTheServiceAndTheNextReplaceIsRight however the kernel was left.
func TestAnErrorNamesTheServiceAndTheNextReplaceIsRight(t *testing.T) {
	r := newRig(t)
	r.update(service(1, nil, "10.244.0.1"))
	r.replace()
	delete(r.kernel.held[key80(1)].destinations, netip.MustParseAddrPort("10.244.0.1:8080"))
	changes := r.update(service(1, nil, "10.244.0.2"), service(2, nil, "10.244.0.3"))
	if err := r.Apply(context.Background(), changes); err == nil || !strings.Contains(err.Error(), "demo/s1: ") {
		t.Errorf("error %v", err)
	}
	if err := r.Apply(context.Background(), &ruleset.Changes{}); err == nil {
		t.Error("applied to what is not known")
	}
	r.replace()
	r.holds("TCP 10.96.0.1:80 > 10.244.0.2:8080 1", "TCP 10.96.0.1:80 rr", "TCP 10.96.0.2:80 > 10.244.0.3:8080 1", "TCP 10.96.0.2:80 rr")
}

// TestAVirtualServerOfSomebodyElseIsTakenOver after an error, whatever could be put there.
func TestAVirtualServerOfSomebodyElseIsTakenOver(t *testing.T) {
	r := newRig(t)
	r.replace()
	r.must(r.kernel.addServer(server{Key: key80(1), scheduler: "lc"}))
	if err := r.Apply(context.Background(), r.update(service(1, nil, "10.244.0.1"))); !errors.Is(err, unix.EEXIST) {
		t.Errorf("error %v", err)
	}
	r.replace()
	r.holds("TCP 10.96.0.1:80 > 10.244.0.1:8080 1", "TCP 10.96.0.1:80 rr")
}

// TestAnyChangesLeadToWhatIsWanted, by Apply, by Replace or by a restart, whoever has
// connections.
func TestAnyChangesLeadToWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t)
		r.replace()
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			changes := r.draw(rt)
			switch rapid.SampledFrom([]string{"apply", "apply", "replace", "restart"}).Draw(rt, "by") {
			case "apply":
				r.apply(changes)
			case "replace":
				r.replace()
			default:
				r.restartDraining()
			}
			clear(r.kernel.busy)
			for _, i := range rapid.SliceOf(rapid.IntRange(1, 5)).Draw(rt, "busy") {
				r.kernel.busy[netip.MustParseAddrPort(fmt.Sprintf("10.244.0.%d:8080", i))] = true
			}
			if rapid.Bool().Draw(rt, "collect") {
				_, err := r.Collect(context.Background())
				r.must(err)
			}
			r.checkServed(rt)
			if found := r.differences(); len(found) > 0 {
				rt.Fatalf("differs by %+v", found)
			}
		}
		clear(r.kernel.busy)
		_, err := r.Collect(context.Background())
		r.must(err)
		drained := r.kernel.text()
		fresh := newRig(t)
		fresh.views, fresh.table = r.views, r.table
		fresh.replace()
		if want := fresh.kernel.text(); drained != want || r.on.String() != fresh.on.String() || len(r.drains) > 0 {
			rt.Fatalf("holds\n%s\nwant\n%s\nbound %s, want %s, draining %v", drained, want, r.on, fresh.on, r.drains)
		}
	})
}

// draw changes one Service.
func (r *rig) draw(rt *rapid.T) *ruleset.Changes {
	n := rapid.IntRange(1, 3).Draw(rt, "service")
	if rapid.IntRange(0, 4).Draw(rt, "delete") == 0 {
		return r.delete(n)
	}
	var endpoints []string
	for i := range 5 {
		if rapid.Bool().Draw(rt, "endpoint") {
			endpoints = append(endpoints, fmt.Sprintf("10.244.0.%d*%d", i+1, rapid.IntRange(1, 2).Draw(rt, "weight")))
		}
	}
	return r.update(service(n, func(s *state.Service) {
		s.Scheduler = rapid.SampledFrom([]string{"", "lc"}).Draw(rt, "scheduler")
		s.Affinity = time.Duration(rapid.IntRange(0, 1).Draw(rt, "affinity")) * time.Hour
		if rapid.Bool().Draw(rt, "node port") {
			s.Ports[0].NodePort = 30080
		}
	}, endpoints...))
}

// checkServed: every destination that is wanted is there with its weight, and others, if
// any, with none.
func (r *rig) checkServed(rt *rapid.T) {
	for f := range r.table.Frontends() {
		v, have := want(f, defaultScheduler), r.kernel.held[f.Key]
		for backend, weight := range maps.All(destinationsOf(v)) {
			if got, there := have.weight(backend); !there || got != weight {
				rt.Fatalf("%s > %s is %d, want %d", f.Key, backend, got, weight)
			}
		}
		for backend, weight := range destinationsOf(have) {
			if _, wanted := v.weight(backend); !wanted && weight != 0 {
				rt.Fatalf("%s > %s has weight %d and is not wanted", f.Key, backend, weight)
			}
		}
	}
}

func destinationsOf(v *virtual) map[netip.AddrPort]int {
	if v == nil {
		return nil
	}
	return v.destinations
}
