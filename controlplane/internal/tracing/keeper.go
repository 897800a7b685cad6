package tracing

import (
	"slices"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
)

const (
	// answerWithin is how long a trace waits for nodes: streams end when a node takes longer.
	answerWithin = 30 * time.Second
	// quiet is how long nothing must have happened to a trace until it can be complete: a
	// stream may take a moment to notice a revision.
	quiet = time.Second
	// maxOpen bounds the traces that wait for nodes, maxEarly the observations that wait for
	// their round.
	maxOpen  = 32
	maxEarly = 4096
)

// keeper puts observations together to traces. It belongs to one goroutine.
type keeper struct {
	// done takes complete traces, drop counts those that there is no room for.
	done func(*trace)
	drop func()
	open []*trace
	// underway has the transactions that nodes have not answered.
	underway map[string]discovery.Pushed
	// newest is the revision of the last round that was noted. Streams see a snapshot a
	// moment before its round is noted, so what they say of it waits in early.
	newest uint64
	early  []discovery.Acknowledged
}

func newKeeper(done func(*trace), drop func()) *keeper {
	return &keeper{done: done, drop: drop, underway: map[string]discovery.Pushed{}}
}

func (k *keeper) round(r round.Result, sampled bool, now time.Time) {
	if sampled && len(k.open) >= maxOpen {
		k.drop()
	} else if sampled {
		k.open = append(k.open, newTrace(r, now))
	}
	k.newest = r.Revision
	early := k.early
	k.early = nil
	for i := range early {
		k.acknowledged(early[i], now)
	}
}

func (k *keeper) pushed(p discovery.Pushed, now time.Time) {
	k.underway[p.Node] = p
	for _, t := range k.open {
		if t.within(p) {
			t.last = now
		}
	}
}

func (k *keeper) acknowledged(a discovery.Acknowledged, now time.Time) {
	if k.underway[a.Node] == a.Pushed {
		delete(k.underway, a.Node)
	}
	if a.To > k.newest && len(k.early) < maxEarly {
		k.early = append(k.early, a)
	}
	for _, t := range k.open {
		if t.within(a.Pushed) {
			t.answered(a)
			t.last = now
		}
	}
}

// complete hands over the traces that are complete.
func (k *keeper) complete(now time.Time) {
	for node, p := range k.underway {
		// The stream has ended, as it does when a node takes that long.
		if now.Sub(p.At) > answerWithin+tick {
			delete(k.underway, node)
		}
	}
	k.open = slices.DeleteFunc(k.open, func(t *trace) bool {
		t.silent = k.silent(t)
		late := now.Sub(t.Committed) >= answerWithin
		if !late && (t.silent > 0 || now.Sub(t.last) < quiet) {
			return false
		}
		t.late = late && t.silent > 0
		t.finish(now)
		k.done(t)
		return true
	})
}

// end hands over all traces as they are.
func (k *keeper) end(now time.Time) {
	for _, t := range k.open {
		t.silent = k.silent(t)
		t.finish(now)
		k.done(t)
	}
	k.open = nil
}

// silent counts the nodes that have something under way and not the trace's revision yet.
func (k *keeper) silent(t *trace) int {
	count := 0
	for _, p := range k.underway {
		if p.From < t.Revision && !t.nodes[p.Node] {
			count++
		}
	}
	return count
}
