package tracing

import (
	"fmt"
	"testing"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
)

// bench is a keeper with what it has handed over, at a time of its own.
type bench struct {
	*keeper
	now     time.Time
	traces  []*trace
	dropped int
}

func newBench() *bench {
	b := &bench{now: time.Unix(1_000_000, 0)}
	b.keeper = newKeeper(func(t *trace) { b.traces = append(b.traces, t) }, func() { b.dropped++ })
	return b
}

// made notes a round that is traced.
func (b *bench) made(revision uint64) {
	b.round(round.Result{Revision: revision, Began: b.now, Computed: b.now, Committed: b.now}, true, b.now)
}

func (b *bench) push(node string, from, to uint64) discovery.Pushed {
	p := discovery.Pushed{Node: node, From: from, To: to, At: b.now}
	b.pushed(p, b.now)
	return p
}

func (b *bench) ack(p discovery.Pushed) {
	b.acknowledged(discovery.Acknowledged{Pushed: p, Received: b.now}, b.now)
}

func (b *bench) nack(p discovery.Pushed) {
	b.acknowledged(discovery.Acknowledged{Pushed: p, Received: b.now, Kernel: true, Reason: "no room"}, b.now)
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.complete(b.now)
}

func TestATraceEndsWithTheLastAnswer(t *testing.T) {
	b := newBench()
	b.made(2)
	first, second := b.push("a", 1, 2), b.push("b", 1, 2)
	b.pass(time.Millisecond)
	b.ack(first)
	b.pass(10 * time.Second)
	if len(b.traces) != 0 {
		t.Fatal("a trace was complete before the last answer")
	}
	b.ack(second)
	last := b.now
	b.pass(quiet)
	if len(b.traces) != 1 || !b.traces[0].ended.Equal(last) || len(b.traces[0].nodes) != 2 || b.traces[0].silent != 0 {
		t.Fatalf("%+v", b.traces)
	}
	if len(b.underway)+len(b.open) != 0 {
		t.Error("something is kept")
	}
}

// TestAnAnswerCountsForAllRevisionsThatTheTransactionMerges, and for no others.
func TestAnAnswerCountsForAllRevisionsThatTheTransactionMerges(t *testing.T) {
	b := newBench()
	for revision := uint64(2); revision <= 5; revision++ {
		b.made(revision)
	}
	b.ack(b.push("a", 2, 4))
	b.pass(quiet)
	for _, trace := range b.traces {
		if want := trace.Revision == 3 || trace.Revision == 4; trace.nodes["a"] != want {
			t.Errorf("revision %d: answered %v", trace.Revision, trace.nodes)
		}
	}
	if len(b.traces) != 4 {
		t.Errorf("%d traces", len(b.traces))
	}
}

// TestANodeThatIsBusyIsWaitedFor: what is new comes with its next transaction.
func TestANodeThatIsBusyIsWaitedFor(t *testing.T) {
	b := newBench()
	before := b.push("a", 0, 1)
	b.made(2)
	b.pass(5 * time.Second)
	if len(b.traces) != 0 {
		t.Fatal("a trace was complete while a node had not been told")
	}
	b.ack(before)
	b.ack(b.push("a", 1, 2))
	b.pass(quiet)
	if len(b.traces) != 1 || !b.traces[0].nodes["a"] {
		t.Errorf("%+v", b.traces)
	}
}

func TestANodeThatDoesNotAnswerIsWaitedForNoLongerThanItsStream(t *testing.T) {
	b := newBench()
	b.made(2)
	b.push("a", 1, 2)
	b.ack(b.push("b", 1, 2))
	b.pass(answerWithin - time.Millisecond)
	if len(b.traces) != 0 {
		t.Fatal("too early")
	}
	b.pass(10 * time.Millisecond)
	if len(b.traces) != 1 {
		t.Fatal("a trace waits for ever")
	}
	got := b.traces[0]
	if got.silent != 1 || !got.late || got.ended.Sub(got.Committed) != answerWithin {
		t.Errorf("%+v", got)
	}
	if why := trouble(got); why != "nodes that did not answer within 30s: 1" {
		t.Error(why)
	}
	if b.pass(time.Minute); len(b.underway) != 0 {
		t.Error("the transaction of a stream that is gone is kept")
	}
}

// TestWhatIsSaidOfARoundBeforeItIsNotedIsNotLost: streams see the snapshot first.
func TestWhatIsSaidOfARoundBeforeItIsNotedIsNotLost(t *testing.T) {
	b := newBench()
	b.made(1)
	b.ack(b.push("a", 1, 2))
	b.made(2)
	b.pass(quiet)
	if len(b.traces) != 2 || !b.traces[1].nodes["a"] || len(b.early) != 0 {
		t.Errorf("%+v", b.traces)
	}
}

func TestSpansOfNodesAreBoundedAndRefusalsComeFirst(t *testing.T) {
	b := newBench()
	b.made(2)
	for i := range 100 {
		b.ack(b.push(fmt.Sprint("good", i), 1, 2))
	}
	for i := range 100 {
		b.nack(b.push(fmt.Sprint("bad", i), 1, 2))
	}
	b.pass(quiet)
	got := b.traces[0]
	if len(got.nodes) != 200 || got.refusals != 100 || len(got.applies) != 2*maxNodes {
		t.Errorf("%d nodes, %d refusals, %d spans", len(got.nodes), got.refusals, len(got.applies))
	}
	for i, a := range got.applies {
		if a.Failed() != (i >= maxNodes) {
			t.Errorf("span %d is of %s", i, a.Node)
		}
	}
}

func TestOpenTracesAreBounded(t *testing.T) {
	b := newBench()
	for revision := range uint64(maxOpen + 5) {
		b.made(revision + 1)
	}
	if len(b.open) != maxOpen || b.dropped != 5 {
		t.Errorf("%d open, %d dropped", len(b.open), b.dropped)
	}
}

// TestATraceBeginsWithTheEventIfThatIsKnown, else with the round.
func TestATraceBeginsWithTheEventIfThatIsKnown(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for received, want := range map[time.Time]time.Time{{}: now, now.Add(-time.Second): now.Add(-time.Second), now.Add(time.Second): now} {
		if got := (&trace{Result: round.Result{Began: now, Changes: cluster.Changes{Received: received}}}).began(); !got.Equal(want) {
			t.Errorf("received %v: began %v", received, got)
		}
	}
}
