package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// How long to wait: for answers that must come, until silence is believed, and for a
// packet that only has to get through.
const (
	patience = 3 * time.Second
	silence  = 400 * time.Millisecond
	aMoment  = 100 * time.Millisecond
)

// masqueradeMark is the bit by which masquerade is asked for (S103).
const masqueradeMark = 1 << 14

// outcome is what came of a probe's calls.
type outcome struct {
	source netip.Addr
	calls  []talk.Answer
	err    error
}

// send makes a probe's calls.
func (w *world) send(p scenario.Probe) outcome {
	source, place, err := w.source(p)
	if err != nil {
		return outcome{err: err}
	}
	o := outcome{source: source}
	call := talk.Call{Protocol: p.Protocol, Source: source, Destination: p.Destination}
	if p.From == "host" && p.Source == "" {
		call.Source = netip.Addr{}
	}
	count, enough := effort(p)
	call.Patience = patienceFor(p)
	o.err = place.In.Do(func() error {
		for i := range count {
			if p.Forgets > 0 && i > 0 && i%2 == 0 {
				time.Sleep(p.Forgets + p.Forgets/2)
			}
			o.calls = append(o.calls, talk.Make(call))
			if enough(o.calls) {
				break
			}
		}
		return nil
	})
	return o
}

func patienceFor(p scenario.Probe) time.Duration {
	switch p.Verdict {
	case scenario.Dropped:
		return silence
	case scenario.Untouched:
		return aMoment
	default:
		return patience
	}
}

// effort is how many calls a probe makes, and when it may stop before.
func effort(p scenario.Probe) (count int, enough func([]talk.Answer) bool) {
	never := func([]talk.Answer) bool { return false }
	backends := len(p.Backends)
	switch {
	case p.Verdict == scenario.Untouched:
		return 1, never
	case p.Verdict != scenario.Accepted:
		return 2, never
	case p.Forgets > 0:
		return 2 * 12, never // in pairs
	case p.Sticky:
		return 12, never
	case p.Even:
		return 100 * backends, never
	}
	const atLeast = 8
	return 40 + 40*backends, func(calls []talk.Answer) bool {
		seen := map[netip.AddrPort]bool{}
		for _, c := range calls {
			seen[c.Backend] = true
		}
		last := calls[len(calls)-1]
		return last.Result != talk.Answered || len(calls) >= atLeast && len(seen) >= backends
	}
}

// againstPackets compares what a scenario expects with what became of the packets.
func (w *world) againstPackets(p scenario.Probe, o outcome, seen map[lab.Key]lab.Sighting) []string {
	if o.err != nil {
		return []string{o.err.Error()}
	}
	switch p.Verdict {
	case scenario.Untouched:
		return untouched(p, o, seen)
	case scenario.Refused:
		return stopped(p, o, seen, talk.Refused)
	case scenario.Dropped:
		return stopped(p, o, seen, talk.Silent)
	default:
		return w.accepted(p, o, seen)
	}
}

func untouched(p scenario.Probe, o outcome, seen map[lab.Key]lab.Sighting) []string {
	call := o.calls[0]
	s, ok := seen[lab.Key{Protocol: p.Protocol, Port: call.Port}]
	switch {
	case !ok:
		return []string{fmt.Sprintf("the packet did not get through: %s %v", call.Result, call.Err)}
	case s.Destination != p.Destination:
		return []string{fmt.Sprintf("the packet was sent to %s", s.Destination)}
	case s.Mark != 0:
		return []string{fmt.Sprintf("the packet was marked %#x", s.Mark)}
	default:
		return nil
	}
}

func stopped(p scenario.Probe, o outcome, seen map[lab.Key]lab.Sighting, want talk.Result) []string {
	var complaints []string
	for _, call := range o.calls {
		if s, ok := seen[lab.Key{Protocol: p.Protocol, Port: call.Port}]; ok {
			complaints = append(complaints, fmt.Sprintf("the packet got through, to %s", s.Destination))
		} else if call.Result != want {
			complaints = append(complaints, fmt.Sprintf("got %s %v %v: expected %s", call.Result, call.Backend, call.Err, want))
		}
	}
	return complaints
}

// accepted checks who has answered and what source they saw.
func (w *world) accepted(p scenario.Probe, o outcome, seen map[lab.Key]lab.Sighting) []string {
	var complaints []string
	counts := map[string]int{}
	for _, call := range o.calls {
		name, complaint := w.answered(p, o, call, seen)
		if complaint != "" {
			complaints = append(complaints, complaint)
			continue
		}
		counts[name]++
	}
	var got []string
	for name := range counts {
		got = append(got, name)
	}
	slices.Sort(got)
	want := backendNames(p.Backends)
	switch {
	case p.Forgets > 0:
		complaints = append(complaints, forgotten(o.calls)...)
	case p.Sticky:
		if len(got) != 1 || !slices.Contains(want, got[0]) {
			complaints = append(complaints, fmt.Sprintf("got %v: expected a single one of %v", counts, want))
		}
	case !slices.Equal(got, want):
		complaints = append(complaints, fmt.Sprintf("got %s: expected %s", strings.Join(got, " "), strings.Join(want, " ")))
	case p.Even:
		for name, count := range counts {
			if share := len(o.calls) / len(want); count < share/2 || count > share*3/2 {
				complaints = append(complaints, fmt.Sprintf("%s got %d of %d connections", name, count, len(o.calls)))
			}
		}
	}
	return slices.Compact(complaints)
}

// forgotten expects pairs of calls to come to the same backend, and not all pairs.
func forgotten(calls []talk.Answer) []string {
	var complaints []string
	backends := map[netip.AddrPort]bool{}
	for i := 0; i+1 < len(calls); i += 2 {
		if calls[i].Backend != calls[i+1].Backend {
			complaints = append(complaints, fmt.Sprintf("one call came to %s and the next to %s", calls[i].Backend, calls[i+1].Backend))
		}
		backends[calls[i].Backend] = true
	}
	if len(backends) == 1 {
		complaints = append(complaints, "the client is never forgotten")
	}
	return complaints
}

// answered names the backend of a call, with * if it saw an address of the node.
func (w *world) answered(p scenario.Probe, o outcome, call talk.Answer, seen map[lab.Key]lab.Sighting) (name, complaint string) {
	if call.Result != talk.Answered {
		return "", fmt.Sprintf("got %s: %v", call.Result, call.Err)
	}
	masqueraded, stays := slices.Contains(w.LocalAddresses, call.Seen), slices.Contains(w.LocalAddresses, call.Backend.Addr())
	if p.From == "host" && masqueraded && stays {
		return w.backend(call.Backend, p.Masquerades(w.backend(call.Backend, false))), "" // It cannot be told.
	}
	if p.From == "host" && masqueraded || stays {
		// The host's own address is one of the node's either way, and what stays on the
		// node does not come by where addresses are changed (postrouting): see what is
		// asked for.
		masqueraded = seen[lab.Key{Protocol: p.Protocol, Port: call.Port}].Mark&masqueradeMark != 0
	} else if !masqueraded && call.Seen != o.source {
		return "", fmt.Sprintf("%s saw %s, which is neither the client nor the node", w.NameOf(call.Backend.Addr()), call.Seen)
	}
	return w.backend(call.Backend, masqueraded), ""
}

func (w *world) backend(address netip.AddrPort, masqueraded bool) string {
	name := fmt.Sprintf("%s:%d", w.NameOf(address.Addr()), address.Port())
	if masqueraded {
		name += "*"
	}
	return name
}
