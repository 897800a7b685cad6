package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// warnings are what is not as it should be beside the rules, by who says so.
type warnings struct {
	mu       sync.Mutex
	bySource map[string][]*discoveryv1.Warning
	// changed has a value while somebody has said something new.
	changed chan struct{}
	// told is what the control plane was told last. It is the loop's own.
	told []*discoveryv1.Warning
}

func newWarnings() *warnings {
	return &warnings{bySource: map[string][]*discoveryv1.Warning{}, changed: make(chan struct{}, 1)}
}

// Warn replaces what a source warns of; an empty list means that all is well. The
// control plane is told with the next acknowledgement, which is sent anew if it was
// sent already. It is safe for concurrent use and does not wait.
func (l *Loop) Warn(source string, list []*discoveryv1.Warning) {
	w := l.warnings
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.EqualFunc(w.bySource[source], list, same) {
		return
	}
	w.bySource[source] = list
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// all returns the warnings of all sources, in order of the resources' names.
func (w *warnings) all() []*discoveryv1.Warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*discoveryv1.Warning
	for _, source := range slices.Sorted(maps.Keys(w.bySource)) {
		list = append(list, w.bySource[source]...)
	}
	slices.SortStableFunc(list, func(a, b *discoveryv1.Warning) int {
		return cmp.Or(strings.Compare(a.GetName().GetName(), b.GetName().GetName()), strings.Compare(a.GetMessage(), b.GetMessage()))
	})
	return list
}

// result is what there is to say of the latest transaction now.
func (l *Loop) result() subscribe.Result {
	l.warnings.told = l.warnings.all()
	return subscribe.Result{Rejected: l.rejections(), Err: l.failure, ApplyDuration: l.took, Warnings: l.warnings.told}
}

func same(a, b *discoveryv1.Warning) bool { return proto.Equal(a, b) }

// tellWarnings acknowledges the latest transaction again if there are other warnings
// than it was acknowledged with. Where it could not be, for example because it is
// only just being acknowledged, a later call does it.
func (l *Loop) tellWarnings() {
	before := l.warnings.told
	if slices.EqualFunc(before, l.warnings.all(), same) {
		return
	}
	if !l.Acknowledge(l.result()) {
		l.warnings.told = before
	}
}
