package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portolan-net/portolan/controlplane/reference"
	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// witnesses are clients that must notice nothing while one step follows another: what
// both steps accept is accepted all the time, by somebody whom one of them allows; and
// what is established stays.
//
// No packet may be lost, but for two reasons. A client that is remembered with an
// endpoint which has just gone loses one. And who deletes the conntrack entries of a
// UDP endpoint that has gone (S115) may do so while an answer is on its way. TCP sends
// again by itself; for UDP and SCTP a witness does, as resolvers do.
//
// Once the new step is in force, new connections come to its backends alone.
type witnesses struct {
	stop    chan struct{}
	changed atomic.Bool
	// stoodStill is when the machine did so last, as nanoseconds since 1970.
	stoodStill atomic.Int64
	running    sync.WaitGroup
	held       map[string]*talk.Held
	flows      []*flow
	after      *scenario.Step

	mu       sync.Mutex
	failures []string
}

const pause = 2 * time.Millisecond

// retransmission is after what time TCP sends its first packet again (RFC 6298: a
// second).
const retransmission = 900 * time.Millisecond

// still is how late a timer is if the machine stood still, as an emulated one does that
// others keep from its processors: then a packet that takes long is not a lost one.
const still = 200 * time.Millisecond

// watch starts witnesses for the probes of the step before that still hold.
func (w *world) watch(t *testing.T, before, after *scenario.Step) *witnesses {
	ws := &witnesses{stop: make(chan struct{}), held: map[string]*talk.Held{}, after: after}
	if before == nil {
		return ws
	}
	for _, p := range before.Probes {
		was, err1 := w.decide(before, p)
		will, err2 := w.decide(after, p)
		if err1 != nil || err2 != nil {
			continue
		}
		source, place, err := w.source(p)
		if err != nil {
			t.Fatal(err)
		}
		call := talk.Call{Protocol: p.Protocol, Source: source, Destination: p.Destination, Patience: patience}
		if p.From == "host" && p.Source == "" {
			call.Source = netip.Addr{}
		}
		if p.Protocol == "udp" {
			f, err := openFlow(p, place, call, len(was.Backends) > 0, will.Backends)
			if err != nil {
				t.Fatal(err)
			}
			ws.flows = append(ws.flows, f)
		}
		if len(was.Backends) == 0 || len(will.Backends) == 0 {
			continue
		}
		if p.Protocol == "tcp" {
			ws.hold(t, p, place, call)
		}
		mayLose := was.Sticky > 0 || will.Sticky > 0
		ws.running.Go(func() { ws.call(p, place, call, mayLose, allowed(was, will), will.Backends) })
	}
	ws.running.Go(ws.clock)
	time.Sleep(10 * pause)
	return ws
}

// clock notes when the machine stands still.
func (ws *witnesses) clock() {
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-ws.stop:
			return
		case <-time.After(pause):
		}
		if now := time.Now(); now.Sub(last) > still {
			ws.stoodStill.Store(now.UnixNano())
		}
	}
}

// lost tells whether a TCP connection took so long that a packet of it was sent again, and
// not because nothing went on.
func (ws *witnesses) lost(begun time.Time, took time.Duration) bool {
	if took <= retransmission {
		return false
	}
	time.Sleep(still / 4) // For the clock to notice.
	return ws.stoodStill.Load() < begun.UnixNano()
}

func allowed(outcomes ...reference.Outcome) []netip.AddrPort {
	var all []netip.AddrPort
	for _, o := range outcomes {
		all = append(all, o.Backends...)
	}
	return all
}

func (ws *witnesses) hold(t *testing.T, p scenario.Probe, place *lab.Place, call talk.Call) {
	err := place.In.Do(func() error {
		h, err := talk.Hold(call)
		if err == nil {
			ws.held[p.Text] = h
		}
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", p.Text, err)
	}
}

// inForce tells that the new step is in force.
func (ws *witnesses) inForce() { ws.changed.Store(true) }

// call makes one call after the other. They come to those who are allowed while things
// change, and in the end to those of the new step.
func (ws *witnesses) call(p scenario.Probe, place *lab.Place, call talk.Call, mayLose bool, allowed, finally []netip.AddrPort) {
	err := place.In.Do(func() error {
		for {
			begun, backends := time.Now(), allowed
			if ws.changed.Load() {
				backends = finally
			}
			answer := talk.Make(call)
			took := time.Since(begun)
			switch {
			case p.Protocol != "tcp" && answer.Result == talk.Silent:
				answer = talk.Make(call)
			case p.Protocol == "tcp" && !mayLose && ws.lost(begun, took):
				return fmt.Errorf("a connection took %s, so that a packet was lost", took)
			}
			if answer.Result != talk.Answered {
				return fmt.Errorf("a connection was not answered but %s: %w", answer.Result, answer.Err)
			}
			if !slices.Contains(backends, answer.Backend) {
				return fmt.Errorf("a connection was answered by %s: expected one of %v", answer.Backend, backends)
			}
			select {
			case <-ws.stop:
				return nil
			case <-time.After(pause):
			}
		}
	})
	if err != nil {
		ws.fail(p, err)
	}
}

func (ws *witnesses) fail(p scenario.Probe, err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.failures = append(ws.failures, fmt.Sprintf("%s: %v", p.Text, err))
}

// finish returns what the witnesses have to complain about.
func (ws *witnesses) finish() []string {
	time.Sleep(10 * pause)
	close(ws.stop)
	ws.running.Wait()
	for _, f := range ws.flows {
		if err := f.check(ws.after); err != nil {
			ws.fail(f.probe, err)
		}
	}
	for text, h := range ws.held {
		if err := h.Check(patience); err != nil {
			ws.failures = append(ws.failures, fmt.Sprintf("%s: a connection to %s that was established broke: %v", text, h.Backend, err))
		}
		h.Close()
	}
	return ws.failures
}
