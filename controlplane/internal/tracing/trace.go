package tracing

import (
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
)

// maxNodes is how many nodes have a span in a trace, and how many more that refuse may: those
// are what somebody looks for.
const maxNodes = 32

// trace is what is known of a traced revision.
type trace struct {
	round.Result
	// last is when something happened to it, ended the time of its end.
	last, ended time.Time
	// nodes have answered; applies are the answers that have a span.
	nodes   map[string]bool
	applies []discovery.Acknowledged
	// refusals counts the NACKs among the answers, and extra those that have a span beyond
	// the first nodes.
	refusals, extra int
	// silent counts nodes that have not answered; late is set if they had their time.
	silent int
	late   bool
}

func newTrace(r round.Result, now time.Time) *trace {
	return &trace{Result: r, last: now, nodes: map[string]bool{}}
}

// within tells whether a transaction carries the trace's revision.
func (t *trace) within(p discovery.Pushed) bool { return p.From < t.Revision && t.Revision <= p.To }

// answered notes the first answer of a node.
func (t *trace) answered(a discovery.Acknowledged) {
	if t.nodes[a.Node] {
		return
	}
	t.nodes[a.Node] = true
	if a.Received.After(t.ended) {
		t.ended = a.Received
	}
	if a.Failed() {
		t.refusals++
	}
	switch beyond := len(t.applies)-t.extra >= maxNodes; {
	case !beyond:
		t.applies = append(t.applies, a)
	case a.Failed() && t.extra < maxNodes:
		t.extra++
		t.applies = append(t.applies, a)
	}
}

// finish sets the end: that of the last answer, or now if there are nodes that have not
// answered.
func (t *trace) finish(now time.Time) {
	if limit := t.Committed.Add(answerWithin); now.After(limit) {
		now = limit
	}
	if t.silent > 0 {
		t.ended = now
	}
	if t.ended.Before(t.Committed) {
		t.ended = t.Committed
	}
}

// began returns when the first event of the round was received, or else its beginning.
func (t *trace) began() time.Time {
	if received := t.Changes.Received; !received.IsZero() && received.Before(t.Began) {
		return received
	}
	return t.Began
}
