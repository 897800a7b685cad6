package conformance

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// TestNothingIsNoticedOfRestarts is S48, S129 and S136: while programs are killed and come
// again, in every order, connections are made, stay, and come to whom a client is used to.
func TestNothingIsNoticedOfRestarts(t *testing.T) {
	liveWorlds.lend(t, func(w *world) {
		v, story := w.proxy.(*live), find(t, "affinity")
		step := &story.Steps[0]
		w.enter(t, nil, step)
		used := w.backendOf(t, "pc1", "10.96.0.1:80")
		killAgent := func() { v.agent.Kill() }
		killControlPlane := func() { v.controlPlane.Kill(); v.controlPlane = nil }
		startAgent := func() {
			if err := v.startAgent(); err != nil {
				t.Fatal(err)
			}
		}
		startControlPlane := func() {
			if err := v.configure(step); err != nil {
				t.Fatal(err)
			}
		}
		for _, act := range []struct {
			name string
			do   []func()
		}{
			{"the agent is killed and starts again", []func(){killAgent, startAgent}},
			{"the control plane is killed and starts again", []func(){killControlPlane, startControlPlane}},
			{"the agent starts without a control plane, which comes later", []func(){killAgent, killControlPlane, startAgent, startControlPlane}},
			{"the control plane comes first", []func(){killControlPlane, killAgent, startControlPlane, startAgent}},
		} {
			witnesses := w.watch(t, step, step)
			for _, do := range act.do {
				do()
				time.Sleep(aMoment)
			}
			v.enforceAgain(t)
			witnesses.inForce()
			for _, failure := range witnesses.finish() {
				t.Errorf("%s: %s", act.name, failure)
			}
			for range 5 {
				if now := w.backendOf(t, "pc1", "10.96.0.1:80"); now != used {
					t.Errorf("%s: a client that was with %s came to %s", act.name, used, now)
				}
			}
		}
	})
}

// backendOf makes a call and returns who answered.
func (w *world) backendOf(t *testing.T, from, to string) netip.AddrPort {
	t.Helper()
	place, err := w.Find(from)
	if err != nil {
		t.Fatal(err)
	}
	destination := netip.MustParseAddrPort(to)
	var answer talk.Answer
	_ = place.In.Do(func() error {
		answer = talk.Make(talk.Call{Protocol: "tcp", Source: place.Of(destination.Addr()), Destination: destination, Patience: patience})
		return nil
	})
	if answer.Result != talk.Answered {
		t.Fatalf("%s to %s: %s %v", from, to, answer.Result, answer.Err)
	}
	return answer.Backend
}

// TestRulesComeBackFromDisk is P4: a node that has lost everything, without a control
// plane, has its rules again from the checkpoint.
func TestRulesComeBackFromDisk(t *testing.T) {
	liveWorlds.lend(t, func(w *world) {
		v, step := w.proxy.(*live), find(t, "cluster-ip").Steps[0]
		w.enter(t, nil, &step)
		time.Sleep(2 * time.Second) // A checkpoint is written a second after a change.
		v.agent.Kill()
		v.controlPlane.Kill()
		v.controlPlane = nil
		if _, err := w.Node.Run("", program("portolan-agent"), "cleanup"); err != nil {
			t.Fatal(err)
		}
		if err := v.startAgent(); err != nil {
			t.Fatal(err)
		}
		// The table is there before what is in it: its chains are added first.
		for deadline := time.Now().Add(promptness); !w.holds(t, "10.96.0.1"); time.Sleep(pause) {
			if time.Now().After(deadline) {
				t.Fatalf("no rules after %s\n%s", promptness, v.logs())
			}
		}
		w.backendOf(t, "pc1", "10.96.0.1:80")
		if err := v.configure(&step); err != nil {
			t.Fatal(err)
		}
		v.enforceAgain(t)
	})
}

// holds tells whether the kernel's rules know an address.
func (w *world) holds(t *testing.T, address string) bool {
	t.Helper()
	rules, err := w.Node.Run("", "nft", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(rules, "table ip portolan {") && strings.Contains(rules, address)
}

// enforceAgain waits until the node has acknowledged what was written last.
func (v *live) enforceAgain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), convergence)
	defer cancel()
	if err := v.wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, v.logs())
	}
}
