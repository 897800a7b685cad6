// Package rollout waits until nodes have applied something, by asking all replicas of a control
// plane: each knows the nodes that are connected to it.
package rollout

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
)

// Policy says when nodes have applied enough.
type Policy struct {
	// Share is the part of the cluster's Nodes that must have applied it, 0 to 1.
	Share float64
	// Absent is how long nodes that are connected to no replica are waited for, from the
	// beginning; zero means for ever. A node that comes and goes with a replica is back within
	// seconds.
	Absent time.Duration
}

// Replica is a control plane that is asked.
type Replica struct {
	// Name names it in answers.
	Name   string
	Client rolloutv1.RolloutServiceClient
}

// Progress is how far the nodes are, all replicas together.
type Progress struct {
	// Nodes is how many the cluster has, Connected how many of them are connected to a
	// replica, Applied how many have applied it.
	Nodes, Connected, Applied int
	// Pending says what is waited for at replicas; Unreachable which of them do not answer,
	// and why.
	Pending, Unreachable []string
	// Behind are nodes that have not applied it, and Missing nodes that are connected to no
	// replica, as far as their names are told.
	Behind, Missing []string
	// Excused is set once nodes that are connected to nobody are not waited for.
	Excused bool
	Done    bool
}

// String says it in a line.
func (p Progress) String() string {
	parts := []string{fmt.Sprintf("%d of %d nodes have applied it", p.Applied, p.Nodes)}
	if missing := p.Nodes - p.Connected; missing > 0 {
		part := fmt.Sprintf("%d connected to no control plane%s", missing, named(p.Missing))
		if p.Excused {
			part += ", which are not waited for"
		}
		parts = append(parts, part)
	}
	if len(p.Behind) > 0 {
		parts = append(parts, "behind"+named(p.Behind))
	}
	if !p.Done {
		parts = append(append(parts, p.Pending...), p.Unreachable...)
	}
	return strings.Join(parts, "; ")
}

func named(list []string) string {
	const shown = 5
	switch {
	case len(list) == 0:
		return ""
	case len(list) > shown:
		return fmt.Sprintf(": %s and %d more", strings.Join(list[:shown], ", "), len(list)-shown)
	default:
		return ": " + strings.Join(list, ", ")
	}
}

// again spaces attempts at a replica that does not answer.
const again = 200 * time.Millisecond

// Wait waits until nodes have applied what the request says, or the context ends. Told is
// called with every change; it may be nil. It returns the last progress, and the context's error
// if it was not enough. What makes no sense, or is not allowed, is an error at once.
func Wait(ctx context.Context, replicas []Replica, request *rolloutv1.WatchRequest, policy Policy, told func(Progress)) (Progress, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{answers: make([]*rolloutv1.WatchResponse, len(replicas)), errs: make([]error, len(replicas)), changed: make(chan struct{}, 1)}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)
	for i, r := range replicas {
		running.Go(func() { w.follow(ctx, cancel, i, r, request) })
	}
	begun, last := time.Now(), ""
	for {
		p := w.progress(replicas, policy, time.Since(begun))
		if text := p.String(); text != last && told != nil {
			last = text
			told(p)
		}
		if p.Done {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return p, context.Cause(ctx)
		case <-w.changed:
		case <-time.After(again):
		}
	}
}

// watch has the last answers of the replicas.
type watch struct {
	mu      sync.Mutex
	answers []*rolloutv1.WatchResponse
	errs    []error
	changed chan struct{}
}

func (w *watch) note(i int, answer *rolloutv1.WatchResponse, err error) {
	w.mu.Lock()
	w.answers[i], w.errs[i] = answer, err
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// follow keeps the answer of one replica up to date.
func (w *watch) follow(ctx context.Context, cancel context.CancelCauseFunc, i int, r Replica, request *rolloutv1.WatchRequest) {
	for ctx.Err() == nil {
		stream, err := r.Client.Watch(ctx, request)
		for err == nil {
			var answer *rolloutv1.WatchResponse
			if answer, err = stream.Recv(); err == nil {
				w.note(i, answer, nil)
			}
		}
		switch status.Code(err) {
		case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
			cancel(fmt.Errorf("%s: %s", r.Name, status.Convert(err).Message()))
			return
		case codes.DeadlineExceeded, codes.Canceled:
			// The replica and grpc have clocks of their own for our deadline, which may end
			// a stream before the context is done.
			pause(ctx)
		default: // Said below, and asked again.
		}
		if ctx.Err() == nil { // Else what was known last is worth more.
			w.note(i, nil, err)
		}
		pause(ctx)
	}
}

// pause waits before another attempt, or until the context ends.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(again):
	}
}

// progress adds the answers up.
func (w *watch) progress(replicas []Replica, policy Policy, elapsed time.Duration) Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	var p Progress
	missing := map[string]int{}
	answered := 0
	for i, answer := range w.answers {
		if answer == nil {
			if w.errs[i] != nil {
				p.Unreachable = append(p.Unreachable, fmt.Sprintf("%s does not answer: %s", replicas[i].Name, status.Convert(w.errs[i]).Message()))
			} else {
				p.Unreachable = append(p.Unreachable, replicas[i].Name+" has not answered yet")
			}
			continue
		}
		answered++
		p.Nodes = max(p.Nodes, int(answer.GetNodes()))
		p.Connected += int(answer.GetConnected())
		if answer.GetPending() != "" {
			p.Pending = append(p.Pending, answer.GetPending())
		} else {
			p.Applied += int(answer.GetApplied())
		}
		for _, b := range answer.GetBehind() {
			p.Behind = append(p.Behind, fmt.Sprintf("%s (%s)", b.GetNode(), b.GetReason()))
		}
		for _, name := range answer.GetElsewhere() {
			missing[name]++
		}
	}
	for name, times := range missing {
		if times == answered {
			p.Missing = append(p.Missing, name)
		}
	}
	slices.Sort(p.Missing)
	slices.Sort(p.Pending)
	p.Pending = slices.Compact(p.Pending)
	p.Excused = policy.Absent > 0 && elapsed >= policy.Absent
	need := int(math.Ceil(policy.Share * float64(p.Nodes)))
	enough := p.Applied >= need && need > 0
	p.Done = answered > 0 && (enough || len(p.Pending) == 0 && (need == 0 || p.Excused && p.Applied >= p.Connected))
	return p
}
