package conformance

import (
	"net/netip"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// TestLocalhostNodePortsAreServedToThoseWhoAsk is what S18 says is not there, for those
// who ask for it: node ports on loopback addresses, over TCP.
func TestLocalhostNodePortsAreServedToThoseWhoAsk(t *testing.T) {
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	v, err := newLive(l, "--localhost-node-ports")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Lab: l, listening: map[string]bool{}, proxy: v}
	defer v.stop()
	story := find(t, "dual-stack-in-motion")
	call := func(from, to string) talk.Answer {
		place, err := w.Find(from)
		if err != nil {
			t.Fatal(err)
		}
		destination := netip.MustParseAddrPort(to)
		var answer talk.Answer
		_ = place.In.Do(func() error {
			answer = talk.Make(talk.Call{Protocol: "tcp", Destination: destination, Patience: patience})
			return nil
		})
		return answer
	}
	expect := func(when, to string, want talk.Result) {
		t.Helper()
		deadline := time.Now().Add(promptness)
		for {
			answer := call("host", to)
			if answer.Result == want {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %s is %s (%v): expected %s", when, to, answer.Result, answer.Err, want)
				return
			}
			time.Sleep(aMoment)
		}
	}
	w.enter(t, nil, &story.Steps[0]) // IPv4 alone
	expect("IPv4 alone", "127.0.0.1:30080", talk.Answered)
	expect("IPv4 alone", "[::1]:30080", talk.Refused)
	expect("a UDP port", "127.0.0.1:53", talk.Refused)
	w.enter(t, nil, &story.Steps[1]) // both
	expect("both families", "127.0.0.1:30080", talk.Answered)
	expect("both families", "[::1]:30080", talk.Answered)
	if answer := call("host", "127.0.0.1:30080"); l.NameOf(answer.Backend.Addr()) != "pe1" && l.NameOf(answer.Backend.Addr()) != "nb1" {
		t.Errorf("answered by %s", answer.Backend)
	}
	other := find(t, "cluster-ip")
	w.enter(t, nil, &other.Steps[0])
	expect("another cluster", "127.0.0.1:30080", talk.Refused)
}
