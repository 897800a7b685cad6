package discovery

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// TestANodeIsAskedHowItsKernelDiffers asks a real subscriber between its transactions.
func TestANodeIsAskedHowItsKernelDiffers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(3, 80)...)
		compares := func(cfg *subscribe.Config) {
			cfg.Compare = func(context.Context) *discoveryv1.Comparison {
				time.Sleep(time.Second)
				return &discoveryv1.Comparison{Frontends: 3, Differences: []*discoveryv1.KernelDifference{{Place: "here"}}}
			}
		}
		a, old := follow(t, "n", r.dial, compares), follow(t, "old", r.dialFrom(1), nil)
		defer a.stop()
		defer old.stop()
		time.Sleep(time.Second)

		answers := make(chan Compared, 2)
		for range 2 { // Each gets its own answer.
			go func() {
				answer, err := r.server.Compare(t.Context(), "n")
				if err != nil {
					t.Error(err)
				}
				answers <- answer
			}()
		}
		for range 2 {
			if got := <-answers; got.GetFrontends() != 3 || got.GetDigest() != got.SentDigest || got.GetRevision() != got.SentRevision || len(got.GetDifferences()) != 1 {
				t.Errorf("answered %+v", got)
			}
		}
		r.commit(t, "services", services(4, 80)...) // The stream goes on.
		time.Sleep(time.Second)
		if got, err := r.server.Compare(t.Context(), "n"); err != nil || got.SentRevision != r.store.Current().Revision || got.GetRevision() != got.SentRevision {
			t.Errorf("after a change: %+v, error %v", got, err)
		}

		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for node, want := range map[string]codes.Code{"n": codes.DeadlineExceeded, "old": codes.FailedPrecondition, "nobody": codes.FailedPrecondition} {
			if _, err := r.server.Compare(short, node); status.Code(err) != want {
				t.Errorf("%s: error %v, want %s", node, err, want)
			}
		}
		gone := make(chan error)
		go func() {
			time.Sleep(2 * time.Second)
			_, err := r.server.Compare(t.Context(), "n")
			gone <- err
		}()
		time.Sleep(2500 * time.Millisecond)
		a.stop()
		if err := <-gone; status.Code(err) != codes.Unavailable {
			t.Errorf("the stream has ended: error %v", err)
		}
	})
}

func TestAnAnswerToNoQuestionIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, nil)
		defer r.stop()
		r.commit(t, "services", services(1, 80)...)
		c := r.open(t).node("n")
		defer c.close()
		c.commit()
		c.send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Comparison{Comparison: &discoveryv1.Comparison{Id: 1}}})
		c.ends(codes.InvalidArgument, "comparison.id 1: expected the answer to a question")
	})
}
