package nodeauth

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// reviewEvery is how often the API server is asked about each token in use. It itself
	// remembers its answers for ten seconds.
	reviewEvery = 30 * time.Second
	// reviewsAtOnce bounds how many questions are under way.
	reviewsAtOnce = 16
	// reviewTimeout bounds one question.
	reviewTimeout = 10 * time.Second
)

// Review asks the API server whether a token is still good. Only an answer counts: an
// error says nothing of the token.
type Review func(ctx context.Context, token string) (good bool, err error)

// Reviewer asks about all tokens in use: soon after they come into use, and again and
// again. It is safe for concurrent use.
type Reviewer struct {
	review Review
	logger hclog.Logger
	now    func() time.Time

	mu     sync.Mutex
	tokens map[string]*inUse
	// fresh has a value while a token has not been asked about.
	fresh chan struct{}
	// failing is set while the API server does not answer.
	failing bool
}

// inUse is a token that streams were opened with.
type inUse struct {
	identity Identity
	streams  int
	// due is when it is asked about next.
	due     time.Time
	revoked chan struct{}
	isBad   bool
}

// NewReviewer returns a reviewer; Run makes it ask.
func NewReviewer(review Review, logger hclog.Logger, now func() time.Time) *Reviewer {
	return &Reviewer{review: review, logger: logger, now: now, tokens: map[string]*inUse{}, fresh: make(chan struct{}, 1)}
}

// use notes that a stream is opened with an identity's token. What it returns is closed
// once the token is found revoked; end must be called when the stream has ended.
func (r *Reviewer) use(identity Identity) (revoked <-chan struct{}, end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tokens[identity.token]
	if t == nil {
		t = &inUse{identity: identity, due: r.now(), revoked: make(chan struct{})}
		r.tokens[identity.token] = t
		select {
		case r.fresh <- struct{}{}:
		default:
		}
	}
	t.streams++
	return t.revoked, func() { r.release(t) }
}

func (r *Reviewer) release(t *inUse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A token that was found bad is remembered until it would have ended, so that it
	// does not open one stream after the other.
	if t.streams--; t.streams == 0 && !t.isBad {
		delete(r.tokens, t.identity.token)
	}
}

// isRevoked tells whether a token was found revoked.
func (r *Reviewer) isRevoked(token string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tokens[token]
	return t != nil && t.isBad
}

// Run asks until the context ends.
func (r *Reviewer) Run(ctx context.Context) error {
	slots := make(chan struct{}, reviewsAtOnce)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		due, next := r.due()
		for _, t := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			running.Go(func() {
				r.ask(ctx, t)
				<-slots
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.fresh:
		case <-time.After(next):
		}
	}
}

// due returns the tokens to ask about, and after how long there may be more.
func (r *Reviewer) due() (due []*inUse, next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	next = reviewEvery
	for text, t := range r.tokens {
		switch wait := t.due.Sub(now); {
		case t.isBad:
			if now.After(t.identity.Until.Add(leeway)) {
				delete(r.tokens, text)
			}
		case wait <= 0:
			t.due = now.Add(reviewEvery)
			due = append(due, t)
		default:
			next = min(next, wait)
		}
	}
	return due, next
}

func (r *Reviewer) ask(ctx context.Context, t *inUse) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	good, err := r.review(ctx, t.identity.token)
	r.mu.Lock()
	defer r.mu.Unlock()
	if failing := err != nil; failing != r.failing && ctx.Err() == nil {
		if r.failing = failing; failing {
			r.logger.Warn("cannot ask the API server about agents' tokens; those that are known to be good stay so", "error", err)
		} else {
			r.logger.Info("the API server answers about agents' tokens again")
		}
	}
	if err != nil || good || t.isBad {
		return
	}
	t.isBad = true
	close(t.revoked)
	r.logger.Warn("an agent's token is no longer good: its stream is cut", "node", t.identity.Node, "pod", t.identity.Pod)
	if t.streams == 0 {
		// Nobody has it any more, but somebody may come with it.
		r.tokens[t.identity.token] = t
	}
}
