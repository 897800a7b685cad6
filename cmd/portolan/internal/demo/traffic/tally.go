package traffic

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Tally counts answers.
type Tally struct {
	// Pods counts connections by who answered, Sources by the address that the pod
	// saw.
	Pods    map[string]int
	Sources map[netip.Addr]int
	// Failed counts connections without an answer; FirstError is why the first failed.
	Failed     int
	FirstError error
	Slowest    time.Duration
}

func newTally() *Tally { return &Tally{Pods: map[string]int{}, Sources: map[netip.Addr]int{}} }

func (t *Tally) add(answer Answer, err error) {
	if err != nil {
		t.Failed++
		if t.FirstError == nil {
			t.FirstError = err
		}
		return
	}
	t.Pods[answer.Pod]++
	t.Sources[answer.Source]++
	t.Slowest = max(t.Slowest, answer.Took)
}

// Answered is how many connections were answered.
func (t *Tally) Answered() int {
	sum := 0
	for _, count := range t.Pods {
		sum += count
	}
	return sum
}

// String lists the pods with their counts: "a1 12  a2 9".
func (t *Tally) String() string {
	parts := make([]string, 0, len(t.Pods))
	for _, pod := range slices.Sorted(maps.Keys(t.Pods)) {
		parts = append(parts, fmt.Sprintf("%s %d", pod, t.Pods[pod]))
	}
	return strings.Join(parts, "  ")
}

// Seen lists the addresses that pods saw.
func (t *Tally) Seen() []netip.Addr {
	return slices.SortedFunc(maps.Keys(t.Sources), netip.Addr.Compare)
}

// merge adds another tally.
func (t *Tally) merge(other *Tally) {
	for pod, count := range other.Pods {
		t.Pods[pod] += count
	}
	for source, count := range other.Sources {
		t.Sources[source] += count
	}
	t.Failed += other.Failed
	if t.FirstError == nil {
		t.FirstError = other.FirstError
	}
	t.Slowest = max(t.Slowest, other.Slowest)
}
