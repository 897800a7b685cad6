package subscribe

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

func named(name string) resource.Name {
	return resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: name}
}

func everyBucket(kinds []discoveryv1.Kind) []*discoveryv1.ResetBucket {
	var resets []*discoveryv1.ResetBucket
	for _, kind := range kinds {
		resets = append(resets, &discoveryv1.ResetBucket{Kind: kind, Buckets: 1})
	}
	return resets
}

// TestATransactionNamesEachResourceOnce: what a reset leaves out is removed, what it
// sends again is not; and nothing is removed that was never there.
func TestATransactionNamesEachResourceOnce(t *testing.T) {
	for name, test := range map[string]struct {
		piece   *piece
		removed []resource.Name
		full    bool
	}{
		"a removal":                  {&piece{Removed: []*discoveryv1.ResourceName{named("d/a").Proto()}}, []resource.Name{named("d/a")}, false},
		"a removal of what is not":   {&piece{Removed: []*discoveryv1.ResourceName{named("d/x").Proto()}}, nil, false},
		"a reset that sends it anew": {&piece{Resets: everyBucket(resource.Kinds), Resources: []*discoveryv1.Resource{service("d/a", 2)}}, []resource.Name{named("d/b")}, true},
		"a reset of one kind":        {&piece{Resets: everyBucket([]discoveryv1.Kind{discoveryv1.Kind_KIND_SERVICE}), Resources: []*discoveryv1.Resource{service("d/a", 2), service("d/b", 1)}}, nil, false},
		"a reset of half of it all": {&piece{Resets: append(everyBucket(resource.Kinds[:len(resource.Kinds)-1]),
			&discoveryv1.ResetBucket{Kind: discoveryv1.Kind_KIND_SERVICE, Buckets: 2}),
			Resources: []*discoveryv1.Resource{service("d/a", 2), service("d/b", 1)}}, nil, false},
	} {
		h := newHeld(resource.Kinds, map[resource.Name]uint64{named("d/a"): 1, named("d/b"): 1, {Kind: 99, Name: "d/a"}: 1}, nil)
		test.piece.Nonce, test.piece.Commit = 1, true
		whole, err := newAssembler(resource.Kinds, 1<<20).add(test.piece)
		if err != nil {
			t.Fatal(err)
		}
		tx := h.commit(whole)
		if diff := cmp.Diff(test.removed, tx.Removed); diff != "" || tx.Full != test.full {
			t.Errorf("%s: full %v (-want +got)\n%s", name, tx.Full, diff)
		}
	}
}

// TestWhatHasBeenSeenOfTheSourceIsKept while a transaction says nothing of it, also
// by a subscriber that holds nothing.
func TestWhatHasBeenSeenOfTheSourceIsKept(t *testing.T) {
	source := &discoveryv1.SourceVersion{Source: "s", Services: 7}
	h := newHeld(resource.Kinds, nil, source)
	h.commit(&assembled{commit: &piece{Commit: true}})
	if resume := h.resume(); resume.GetSource() != source || len(resume.GetDigests()) != 0 {
		t.Errorf("resumes with %v, want %v alone", resume, source)
	}
	if newHeld(resource.Kinds, nil, nil).resume() != nil {
		t.Error("resumes although it has never held anything")
	}
}

// TestNothingIsAcknowledgedWhileItIsBeingApplied, not even if somebody asks: an Ack
// says that what was sent is in force.
func TestNothingIsAcknowledgedWhileItIsBeingApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := service("d/a", 1), service("d/b", 1)
		n := &network{}
		defer n.serve("cp:1", &script{streams: []func(*discoveryv1.Subscribe, rpc) error{
			then(committed(1, []*discoveryv1.Resource{one}, one), committed(2, []*discoveryv1.Resource{one, two}, two)),
		}})()
		var s *Subscriber
		applying := make(chan *Subscriber, 1)
		k := &keeper{}
		k.result = func(tx *Transaction) Result {
			if s == nil {
				s = <-applying
			}
			if s.Acknowledge(Result{}) {
				t.Errorf("acknowledged while nonce %d is being applied", tx.Nonce)
			}
			return Result{}
		}
		started, stop := start(t, n.config(k, "cp:1"))
		defer stop()
		applying <- started
		synctest.Wait()
		if len(k.transactions()) != 2 || !started.Acknowledge(Result{}) {
			t.Errorf("%d transactions, or the last one cannot be acknowledged again", len(k.transactions()))
		}
	})
}
