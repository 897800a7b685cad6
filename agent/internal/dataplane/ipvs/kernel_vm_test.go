//go:build vm

package ipvs

import (
	"errors"
	"maps"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/resource"
)

func open(t *testing.T) *moby {
	t.Helper()
	k, err := openKernel()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, is6 := range []bool{false, true} {
			servers, _ := k.servers(is6)
			for _, s := range servers {
				_ = do(k, step{operation: deleteServer, server: s})
			}
		}
		k.close()
	})
	return k
}

// TestTheProbeFindsWhatThisKernelHas: all schedulers, and nothing is left behind.
func TestTheProbeFindsWhatThisKernelHas(t *testing.T) {
	k := open(t)
	missing, err := ProbeSchedulers()
	if err != nil || len(missing) > 0 {
		t.Errorf("missing %v, error %v", missing, err)
	}
	if servers, err := k.servers(false); err != nil || len(servers) > 0 {
		t.Errorf("left behind %v, error %v", servers, err)
	}
}

// do makes steps and returns what went wrong.
func do(k kernel, steps ...step) error { return errors.Join(k.run(steps)...) }

func key(protocol state.Protocol, text string) ruleset.Key {
	at := netip.MustParseAddrPort(text)
	return ruleset.Key{Addr: at.Addr(), Protocol: protocol, Port: at.Port()}
}

// TestWhatIsSetIsReadBack for every scheduler, protocol and family, with and without
// persistence.
func TestWhatIsSetIsReadBack(t *testing.T) {
	k := open(t)
	for _, scheduler := range resource.Schedulers {
		for _, protocol := range []state.Protocol{state.TCP, state.UDP, state.SCTP} {
			for _, at := range []struct{ service, backend string }{{"198.51.100.1:80", "192.0.2.1:8080"}, {"[2001:db8::1]:80", "[2001:db8:1::1]:8080"}} {
				for _, persistence := range []time.Duration{0, 3 * time.Hour} {
					s := server{Key: key(protocol, at.service), scheduler: scheduler, persistence: persistence}
					if persistence > 0 {
						s.flags = flagPersistent
					}
					if scheduler == "mh" {
						s.flags |= flagScheduler2
					}
					d := destination{netip.MustParseAddrPort(at.backend), ruleset.MaxWeight}
					must(t, do(k, step{addServer, s, destination{}}, step{addDestination, s, d}))
					servers, err := k.servers(s.Addr.Is6())
					must(t, err)
					if len(servers) != 1 || servers[0] != s {
						t.Errorf("set %+v, read back %+v", s, servers)
					}
					destinations, err := k.destinations(s.Key)
					must(t, err)
					if want := map[destination]connections{d: {}}; !maps.Equal(destinations, want) {
						t.Errorf("set %+v, read back %+v", want, destinations)
					}
					must(t, do(k, step{operation: deleteServer, server: s}))
				}
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotThereIsAnErrorThatSaysSo(t *testing.T) {
	k := open(t)
	s := server{Key: key(state.TCP, "198.51.100.1:80"), scheduler: "rr"}
	d := destination{netip.MustParseAddrPort("192.0.2.1:80"), 1}
	for name, test := range map[string]struct {
		do   func() error
		want error
	}{
		"unknown scheduler": {func() error {
			return do(k, step{operation: addServer, server: server{Key: s.Key, scheduler: "nonesuch"}})
		}, unix.ENOENT},
		"server that is not there":   {func() error { return do(k, step{operation: changeServer, server: s}) }, unix.ESRCH},
		"destination of no server":   {func() error { return do(k, step{addDestination, s, d}) }, unix.ESRCH},
		"deleting what is not there": {func() error { return do(k, step{operation: deleteServer, server: s}, step{deleteDestination, s, d}) }, nil},
	} {
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestWhatTheKernelWouldGetWrongIsRefused(t *testing.T) {
	k := open(t)
	four, six := server{Key: key(state.TCP, "198.51.100.1:80"), scheduler: "rr"}, server{Key: key(state.TCP, "[2001:db8::1]:80"), scheduler: "rr"}
	must(t, do(k, step{operation: addServer, server: four}, step{operation: addServer, server: six}))
	for _, err := range []error{
		do(k, step{addDestination, four, destination{netip.MustParseAddrPort("[2001:db8::2]:80"), 1}}),
		do(k, step{addDestination, six, destination{netip.MustParseAddrPort("192.0.2.1:80"), 1}}),
		do(k, step{addDestination, four, destination{netip.MustParseAddrPort("192.0.2.1:80"), ruleset.MaxWeight + 1}}),
		do(k, step{addDestination, four, destination{netip.MustParseAddrPort("192.0.2.1:80"), -1}}),
		k.setTimeouts(timeouts{tcp: 1500 * time.Microsecond}),
	} {
		if err == nil {
			t.Error("expected an error")
		}
	}
	destinations, err := k.destinations(four.Key)
	if err != nil || len(destinations) != 0 {
		t.Errorf("%v, %v", destinations, err)
	}
}

func TestTimeoutsAreTheKernels(t *testing.T) {
	k := open(t)
	must(t, k.setTimeouts(timeouts{tcp: 800 * time.Second, tcpFin: 100 * time.Second, udp: 200 * time.Second}))
	must(t, k.setTimeouts(timeouts{udp: 250 * time.Second})) // The others stay.
	c, err := k.handle.GetConfig()
	must(t, err)
	if c.TimeoutTCP != 800*time.Second || c.TimeoutTCPFin != 100*time.Second || c.TimeoutUDP != 250*time.Second {
		t.Errorf("timeouts %+v", c)
	}
}

// TestErrorsAreThoseOfTheirSteps, of many that are sent together.
func TestErrorsAreThoseOfTheirSteps(t *testing.T) {
	k := open(t)
	s := server{Key: key(state.TCP, "198.51.100.1:80"), scheduler: "rr"}
	steps := []step{{operation: addServer, server: s}}
	for i := range 3 * writerWindow {
		d := destination{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i / 250), byte(i%250 + 1)}), 80), 1}
		switch {
		case i%7 == 3: // Of another family, so it is not sent.
			d.backend = netip.MustParseAddrPort("[2001:db8::2]:80")
		case i%11 == 5: // Once more.
			d = steps[len(steps)-1].destination
		}
		steps = append(steps, step{addDestination, s, d})
	}
	there := map[netip.AddrPort]bool{}
	for i, err := range k.run(steps) {
		backend := steps[i].destination.backend
		switch {
		case i == 0:
			must(t, err)
		case backend.Addr().Is6():
			if err == nil {
				t.Errorf("step %d: an address of another family was taken", i)
			}
		case there[backend] != errors.Is(err, unix.EEXIST):
			t.Errorf("step %d (%s): %v, there before: %v", i, steps[i], err, there[backend])
		}
		there[backend] = true
	}
}

// TestAThousandServices of ten endpoints each: how many messages each change takes, and in
// how many calls of the kernel they are sent.
func TestAThousandServices(t *testing.T) {
	const services, each = 1000, 10
	k, r := open(t), newRig(t)
	start := func() {
		r.restart()
		dummy, err := openDummy(false)
		must(t, err)
		t.Cleanup(dummy.close)
		r.open, r.addresses = func() (kernel, error) { return k, nil }, dummy
	}
	view := func(n, generation int) ruleset.View {
		var endpoints []string
		for e := range each {
			third := 0
			if e == 0 {
				third = generation
			}
			endpoints = append(endpoints, netip.AddrFrom4([4]byte{10, byte(128 + third), byte(n >> 4), byte(n<<4 | e)}).String())
		}
		return service(n, func(s *state.Service) {
			s.ClusterIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 97, byte(n >> 8), byte(n)})}
		}, endpoints...)
	}
	measure := func(what string, messages, sends int, change func()) time.Duration {
		t.Helper()
		before, begun := k.traffic, time.Now()
		change()
		took := time.Since(begun)
		got := traffic{k.traffic.messages - before.messages, k.traffic.sends - before.sends}
		if want := (traffic{messages, sends}); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		t.Logf("%-40s %6d messages in %4d sends, %8s", what, got.messages, got.sends, took.Round(time.Millisecond/10))
		return took
	}
	sends := func(messages int) int { return (messages + writerWindow - 1) / writerWindow }
	start()
	var all []ruleset.View
	for n := range services {
		all = append(all, view(n, 0))
	}
	r.update(all...)
	const probe = 2 // Whether the kernel has the scheduler: a server that comes and goes.
	whole := services * (1 + each)
	bulk := measure("everything, from nothing", whole+probe, sends(whole)+probe, r.replace)
	one := r.update(view(7, 1))
	if bound, err := r.addresses.bound(); err != nil || len(bound) != services {
		t.Errorf("%d addresses are bound, error %v", len(bound), err)
	}
	measure("one endpoint is another", 2, 2, func() { r.apply(one) })
	var some []ruleset.View
	for n := range 100 {
		some = append(some, view(100+n, 1))
	}
	hundred := r.update(some...)
	measure("one endpoint of each of 100 Services", 200, 2, func() { r.apply(hundred) })
	start()
	measure("another agent finds what it wants", probe, probe, func() {
		if !r.Adopt(t.Context(), r.settings, r.table) {
			t.Error("it does not adopt it")
		}
	})
	measure("removed", services, sends(services), func() { must(t, r.Cleanup(t.Context())) })

	// The same, one message at a time, as the library sends them.
	k.window = 1
	start()
	single := measure("everything, one message at a time", whole+probe, whole+probe, r.replace)
	t.Logf("in bulk: %.2f of the time of one message at a time", bulk.Seconds()/single.Seconds())
}
