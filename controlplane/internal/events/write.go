package events

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	controller = "portolan-controlplane"
	// maxNote, maxInstance and maxObject keep within the API's bounds, in bytes: of
	// notes, of instances, and of names less the hash.
	maxNote, maxInstance, maxObject = 1024, 128, 230

	attempts       = 3
	firstPause     = time.Second
	requestTimeout = 10 * time.Second
	forgetEvery    = time.Minute
)

// Run writes what is recorded until the context ends.
func (r *Recorder) Run(ctx context.Context) error {
	all := newBucket(burstAll, refillAll, r.cfg.Now())
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-forget.C:
			r.forget(r.cfg.Now())
		case e := <-r.queue:
			if !sleep(ctx, all.wait(r.cfg.Now())) {
				return nil
			}
			all.take(r.cfg.Now())
			r.write(ctx, e)
		}
	}
}

// write tries a few times. What the API server will never take is not tried again.
func (r *Recorder) write(ctx context.Context, e event) {
	var err error
	for i := range attempts {
		if i > 0 && !sleep(ctx, firstPause<<(i-1)) {
			return
		}
		if err = r.attempt(ctx, e); err == nil || final(err) {
			break
		}
	}
	r.finish(e, err)
}

func final(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// attempt writes an event, or counts it if it is there.
func (r *Recorder) attempt(ctx context.Context, e event) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	name, count := r.written(e)
	now := metav1.NewMicroTime(r.cfg.Now())
	if name != "" {
		err := r.cfg.API.Repeat(ctx, namespaceOf(e), name, eventsv1.EventSeries{Count: count, LastObservedTime: now})
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	// kubectl describe finds Events by the object's UID.
	uid, err := r.cfg.API.UID(ctx, e.kind, e.namespace, e.name)
	if err != nil {
		return err
	}
	object := r.object(e, uid, now)
	if err := r.cfg.API.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	r.setWritten(e, object.Name)
	return nil
}

func (r *Recorder) written(e event) (name string, count int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.known[e]
	if s == nil {
		return "", 1
	}
	return s.name, s.count
}

func (r *Recorder) setWritten(e event, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.known[e]; s != nil {
		s.name = name
	}
}

// finish notes the outcome. What failed is said anew when it happens again; that an
// object is gone is no failure.
func (r *Recorder) finish(e event, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
	switch {
	case err == nil:
		r.stats.Written++
		r.failing = false
		return
	case gone:
		r.stats.Dropped++
	default:
		r.stats.Failed++
		if !r.failing {
			r.cfg.Logger.Warn("cannot write Events; nothing else depends on them", "regarding", e.kind+" "+e.namespace+"/"+e.name, "reason", e.reason, "error", err)
		}
		r.failing = true
	}
	delete(r.known, e)
}

// object is an event in the API's form.
func (r *Recorder) object(e event, uid types.UID, now metav1.MicroTime) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(e), Name: nameOf(e, uid)},
		EventTime:  now, ReportingController: controller, ReportingInstance: shorten(r.cfg.Instance, maxInstance),
		Action: e.action, Reason: e.reason, Type: e.typ, Note: shorten(e.note, maxNote),
		Regarding: corev1.ObjectReference{APIVersion: versionOf(e.kind), Kind: e.kind, Namespace: e.namespace, Name: e.name, UID: uid},
	}
}

// nameOf is the same wherever the same is said of the same object.
func nameOf(e event, uid types.UID) string {
	hash := xxhash.Sum64String(strings.Join([]string{string(uid), e.kind, e.typ, e.reason, e.action, e.note}, "\x00"))
	return fmt.Sprintf("%s.%016x", strings.TrimRight(shorten(e.name, maxObject), "-."), hash)
}

// namespaceOf is where the API wants Events of objects without a namespace.
func namespaceOf(e event) string {
	if e.namespace == "" {
		return metav1.NamespaceDefault
	}
	return e.namespace
}

func versionOf(kind string) string {
	if kind == kindSlice {
		return discoveryv1.SchemeGroupVersion.String()
	}
	return corev1.SchemeGroupVersion.String()
}

// shorten cuts text to a number of bytes, between characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
