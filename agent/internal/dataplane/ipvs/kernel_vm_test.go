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
)

// schedulers are all that the kernel has.
var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}

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
				_ = k.deleteServer(s.Key)
			}
		}
		k.close()
	})
	return k
}

func key(protocol state.Protocol, text string) ruleset.Key {
	at := netip.MustParseAddrPort(text)
	return ruleset.Key{Addr: at.Addr(), Protocol: protocol, Port: at.Port()}
}

// TestWhatIsSetIsReadBack for every scheduler, protocol and family, with and without
// persistence.
func TestWhatIsSetIsReadBack(t *testing.T) {
	k := open(t)
	for _, scheduler := range schedulers {
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
					must(t, k.addServer(s))
					d := destination{netip.MustParseAddrPort(at.backend), ruleset.MaxWeight}
					must(t, k.addDestination(s.Key, d))
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
					must(t, k.deleteServer(s.Key))
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
		"unknown scheduler":          {func() error { return k.addServer(server{Key: s.Key, scheduler: "nonesuch"}) }, unix.ENOENT},
		"server that is not there":   {func() error { return k.updateServer(s) }, unix.ESRCH},
		"destination of no server":   {func() error { return k.addDestination(s.Key, d) }, unix.ESRCH},
		"deleting what is not there": {func() error { return errors.Join(k.deleteServer(s.Key), k.deleteDestination(s.Key, d.backend)) }, nil},
	} {
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestWhatTheLibraryWouldGetWrongIsRefused(t *testing.T) {
	k := open(t)
	four, six := server{Key: key(state.TCP, "198.51.100.1:80"), scheduler: "rr"}, server{Key: key(state.TCP, "[2001:db8::1]:80"), scheduler: "rr"}
	must(t, k.addServer(four))
	must(t, k.addServer(six))
	for _, err := range []error{
		k.addDestination(four.Key, destination{netip.MustParseAddrPort("[2001:db8::2]:80"), 1}),
		k.addDestination(six.Key, destination{netip.MustParseAddrPort("192.0.2.1:80"), 1}),
		k.addDestination(four.Key, destination{netip.MustParseAddrPort("192.0.2.1:80"), ruleset.MaxWeight + 1}),
		k.addDestination(four.Key, destination{netip.MustParseAddrPort("192.0.2.1:80"), -1}),
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
