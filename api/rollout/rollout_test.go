package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
)

// fake is a control plane that answers as it is told.
type fake struct {
	rolloutv1.RolloutServiceClient
	mu      sync.Mutex
	answer  *rolloutv1.WatchResponse
	err     error
	changed chan struct{}
}

func newFake(answer *rolloutv1.WatchResponse, err error) *fake {
	return &fake{answer: answer, err: err, changed: make(chan struct{}, 10)}
}

func (f *fake) set(answer *rolloutv1.WatchResponse, err error) {
	f.mu.Lock()
	f.answer, f.err = answer, err
	f.mu.Unlock()
	f.changed <- struct{}{}
}

func (f *fake) Watch(ctx context.Context, _ *rolloutv1.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[rolloutv1.WatchResponse], error) {
	f.changed <- struct{}{}
	return &stream{f: f, ctx: ctx}, nil
}

type stream struct {
	grpc.ServerStreamingClient[rolloutv1.WatchResponse]
	f   *fake
	ctx context.Context
}

func (s *stream) Recv() (*rolloutv1.WatchResponse, error) {
	select {
	case <-s.ctx.Done():
		return nil, status.FromContextError(s.ctx.Err()).Err()
	case <-s.f.changed:
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return s.f.answer, s.f.err
}

func answer(nodes, connected, applied uint32, elsewhere ...string) *rolloutv1.WatchResponse {
	return &rolloutv1.WatchResponse{Revision: 7, Nodes: nodes, Connected: connected, Applied: applied, Elsewhere: elsewhere}
}

var (
	everybody = Policy{Share: 1}
	excusing  = Policy{Share: 1, Absent: 30 * time.Second}
	errAway   = status.Error(codes.Unavailable, "connection refused")
)

// TestReplicasTogetherKnowAllNodes, each those that are connected to it.
func TestReplicasTogetherKnowAllNodes(t *testing.T) {
	pending := &rolloutv1.WatchResponse{Pending: "Service d/web still sends to 10.0.0.1", Nodes: 4, Connected: 2}
	behind := answer(4, 2, 1, "c", "d")
	behind.Behind = []*rolloutv1.NodeBehind{{Node: "b", Reason: "rejected d/web: no memory"}}
	for name, test := range map[string]struct {
		answers []*rolloutv1.WatchResponse
		errs    []error
		policy  Policy
		after   time.Duration // Zero: not at all.
		says    string
	}{
		"all at one":                       {[]*rolloutv1.WatchResponse{answer(4, 4, 4)}, nil, everybody, time.Millisecond, "4 of 4 nodes have applied it"},
		"halves of two":                    {[]*rolloutv1.WatchResponse{answer(4, 2, 2, "c", "d"), answer(4, 2, 2, "a", "b")}, nil, everybody, time.Millisecond, "4 of 4 nodes have applied it"},
		"one is behind":                    {[]*rolloutv1.WatchResponse{behind, answer(4, 2, 2, "a", "b")}, nil, everybody, 0, "3 of 4 nodes have applied it; behind: b (rejected d/web: no memory)"},
		"and three quarters are enough":    {[]*rolloutv1.WatchResponse{behind, answer(4, 2, 2, "a", "b")}, nil, Policy{Share: 0.75}, time.Millisecond, "3 of 4 nodes have applied it"},
		"one replica is not there yet":     {[]*rolloutv1.WatchResponse{pending, answer(4, 2, 2, "a", "b")}, nil, everybody, 0, "2 of 4 nodes have applied it; Service d/web still sends to 10.0.0.1"},
		"which half of the nodes need not": {[]*rolloutv1.WatchResponse{pending, answer(4, 2, 2, "a", "b")}, nil, Policy{Share: 0.5}, time.Millisecond, "2 of 4 nodes"},
		"nor is anybody":                   {[]*rolloutv1.WatchResponse{{Pending: "it is being compiled"}}, nil, everybody, 0, "it is being compiled"},
		"a node is nowhere":                {[]*rolloutv1.WatchResponse{answer(4, 2, 2, "c", "d"), answer(4, 1, 1, "a", "b", "d")}, nil, everybody, 0, "3 of 4 nodes have applied it; 1 connected to no control plane: d"},
		"and is excused":                   {[]*rolloutv1.WatchResponse{answer(4, 2, 2, "c", "d"), answer(4, 1, 1, "a", "b", "d")}, nil, excusing, 30 * time.Second, "1 connected to no control plane: d, which are not waited for"},
		"but not one that is behind":       {[]*rolloutv1.WatchResponse{behind, answer(4, 1, 1, "a", "b", "d")}, nil, excusing, 0, "behind: b"},
		"a replica is away":                {[]*rolloutv1.WatchResponse{answer(4, 2, 2, "c", "d"), nil}, []error{nil, errAway}, everybody, 0, "2 does not answer: connection refused"},
		"and its nodes come to the other":  {[]*rolloutv1.WatchResponse{answer(4, 4, 4), nil}, []error{nil, errAway}, everybody, time.Millisecond, "4 of 4 nodes have applied it"},
		"all replicas are away":            {[]*rolloutv1.WatchResponse{nil}, []error{errAway}, excusing, 0, "does not answer"},
		"a cluster without nodes":          {[]*rolloutv1.WatchResponse{answer(0, 0, 0)}, nil, everybody, time.Millisecond, "0 of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var replicas []Replica
				for i, a := range test.answers {
					var err error
					if test.errs != nil {
						err = test.errs[i]
					}
					replicas = append(replicas, Replica{Name: fmt.Sprint(i + 1), Client: newFake(a, err)})
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				begun := time.Now()
				progress, err := Wait(ctx, replicas, &rolloutv1.WatchRequest{Service: "d/web"}, test.policy, nil)
				took := time.Since(begun)
				if done := err == nil; done != (test.after > 0) || done && (took > test.after+again || test.after > time.Second && took < test.after) {
					t.Errorf("%s: after %s, error %v", progress, took, err)
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if !strings.Contains(progress.String(), test.says) {
					t.Errorf("%q, want %q", progress, test.says)
				}
			})
		})
	}
}

// TestAChangeIsNoticedAtOnce, and what was told before.
func TestAChangeIsNoticedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(answer(2, 2, 0), nil)
		var told []string
		time.AfterFunc(5*time.Second, func() { f.set(answer(2, 2, 1), nil) })
		time.AfterFunc(6*time.Second, func() { f.set(nil, errAway) })
		time.AfterFunc(7*time.Second, func() { f.set(answer(2, 2, 2), nil) })
		begun := time.Now()
		progress, err := Wait(t.Context(), []Replica{{"cp", f}}, &rolloutv1.WatchRequest{Service: "d/web"}, everybody, func(p Progress) { told = append(told, p.String()) })
		if took := time.Since(begun); err != nil || !progress.Done || took < 7*time.Second || took > 7*time.Second+2*again {
			t.Errorf("%s after %s, %v", progress, took, err)
		}
		if text := strings.Join(told, "\n"); !strings.Contains(text, "1 of 2 nodes") || !strings.Contains(text, "cp does not answer") {
			t.Errorf("told %s", text)
		}
	})
}

// TestTheDeadlineIsNotAnAbsence of a replica whose clock is a moment early: what it said last
// is told.
func TestTheDeadlineIsNotAnAbsence(t *testing.T) {
	for _, code := range []codes.Code{codes.DeadlineExceeded, codes.Canceled} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(answer(2, 2, 1), nil)
			time.AfterFunc(time.Second-time.Millisecond, func() { f.set(nil, status.Error(code, "stream terminated")) })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			progress, err := Wait(ctx, []Replica{{"cp", f}}, &rolloutv1.WatchRequest{Service: "d/web"}, everybody, nil)
			if !errors.Is(err, context.DeadlineExceeded) || progress.String() != "1 of 2 nodes have applied it" {
				t.Errorf("%s: %s, %v", code, progress, err)
			}
		})
	}
}

func TestWhatMakesNoSenseIsNotWaitedFor(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented} {
		synctest.Test(t, func(t *testing.T) {
			_, err := Wait(t.Context(), []Replica{{"cp", newFake(nil, status.Error(code, "because"))}}, &rolloutv1.WatchRequest{}, everybody, nil)
			if err == nil || err.Error() != "cp: because" {
				t.Errorf("%s: %v", code, err)
			}
		})
	}
}
