package events

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// repeatAfter is how long an Event that is repeated is only counted.
	repeatAfter = 5 * time.Minute
	// keepFor is how long an Event is known without being repeated; API servers keep
	// Events for an hour.
	keepFor = time.Hour
	// maxQueue and maxKnown bound what is kept in memory.
	maxQueue = 1000
	maxKnown = 5000
	// Each object may have burstObject Events at once and one more every
	// refillObject, all together burstAll and one more every refillAll.
	burstObject, refillObject = 10, 5 * time.Minute
	burstAll, refillAll       = 50, 200 * time.Millisecond
)

// API is what is needed of an API server. Errors are those of its client.
type API interface {
	// UID looks an object up by kind, namespace and name.
	UID(ctx context.Context, kind, namespace, name string) (types.UID, error)
	Create(ctx context.Context, event *eventsv1.Event) error
	// Repeat counts an Event that is there already.
	Repeat(ctx context.Context, namespace, name string, series eventsv1.EventSeries) error
}

// Config says where Events go and who reports them.
type Config struct {
	API    API
	Logger hclog.Logger
	// Instance tells this replica from others.
	Instance string
	Now      func() time.Time
}

// regarding is the object that an Event is about.
type regarding struct{ kind, namespace, name string }

// event is one thing to say.
type event struct {
	regarding
	// typ is Normal or Warning, action what was done, or not.
	typ, reason, action, note string
}

// series is what is known of an event that was recorded.
type series struct {
	count        int32
	last, queued time.Time
	// name is that of the Event once it is written.
	name string
}

// Stats counts what became of events.
type Stats struct {
	// Written were sent, Repeated counted with one that is there, Dropped beyond the
	// bounds, and Failed refused by the API server.
	Written, Repeated, Dropped, Failed uint64
}

// Recorder records events. It is safe for concurrent use.
type Recorder struct {
	cfg   Config
	queue chan event

	mu      sync.Mutex
	known   map[event]*series
	objects map[regarding]*bucket
	stats   Stats
	// failing is set while the API server takes no Events, so that it is logged once.
	failing bool
}

// New returns a recorder; Run writes what is recorded.
func New(cfg Config) *Recorder {
	return &Recorder{cfg: cfg, queue: make(chan event, maxQueue), known: map[event]*series{}, objects: map[regarding]*bucket{}}
}

// Stats returns what became of events so far.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// record queues an event unless it was said lately or there are too many. It does
// not wait.
func (r *Recorder) record(e event) {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.known[e]
	if s == nil {
		if s = (&series{}); len(r.known) >= maxKnown {
			r.stats.Dropped++
			return
		}
	}
	s.count, s.last = s.count+1, now
	if !s.queued.IsZero() && now.Sub(s.queued) < repeatAfter {
		r.stats.Repeated++
		return
	}
	if !r.bucketOf(e.regarding, now).take(now) {
		r.stats.Dropped++
		return
	}
	select {
	case r.queue <- e:
		s.queued, r.known[e] = now, s
	default:
		r.stats.Dropped++
	}
}

func (r *Recorder) bucketOf(object regarding, now time.Time) *bucket {
	b := r.objects[object]
	if b == nil {
		b = newBucket(burstObject, refillObject, now)
		r.objects[object] = b
	}
	return b
}

// forget drops what has not been said for long, and objects that may have all their
// Events again.
func (r *Recorder) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e, s := range r.known {
		if now.Sub(s.last) > keepFor {
			delete(r.known, e)
		}
	}
	for object, b := range r.objects {
		if b.full(now) {
			delete(r.objects, object)
		}
	}
}
