package kube

import (
	"context"

	"github.com/hashicorp/go-hclog"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// reach logs whether a kind can be listed and watched, once per change and not
// once per attempt. Attempts follow one another, so it needs no lock.
type reach struct {
	log  hclog.Logger
	kind string
	// reason is why the last attempt failed; state tells whether it did.
	state  reachState
	reason metav1.StatusReason
}

type reachState uint8

const (
	untried reachState = iota
	reached
	failed
)

// record takes the outcome of an attempt.
func (r *reach) record(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil && r.state == failed:
		r.log.Info("API server delivers again", "kind", r.kind)
		r.state = reached
	case err == nil:
		r.state = reached
	// What has expired is listed anew; that is no failure.
	case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
	case r.state != failed || r.reason != apierrors.ReasonForError(err):
		r.log.Warn("API server does not deliver; the last state stays in force", "kind", r.kind, "error", err)
		r.state, r.reason = failed, apierrors.ReasonForError(err)
	}
}

// listerWatcher returns lw with the outcome of every request recorded.
func (r *reach) listerWatcher(lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContextFunc(ctx, options)
			r.record(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchFuncWithContext(ctx, options)
			r.record(ctx, err)
			return w, err
		},
	}
}
