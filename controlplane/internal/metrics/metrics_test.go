package metrics

import (
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func TestObjectsAreCountedByReasonAndNotByProblem(t *testing.T) {
	got := troubled([]model.Problem{
		{Object: "Service demo/a", Field: "spec.externalIPs[0]"}, {Object: "Service demo/a", Field: "spec.externalIPs[1]"},
		{Object: "Service demo/a", Reason: model.Exceeded}, {Object: "Service demo/b", Reason: model.Exceeded},
	})
	want := map[model.Reason]int{model.Invalid: 1, model.Conflict: 0, model.Exceeded: 2, model.Held: 0}
	for reason, count := range want {
		if got[reason] != count {
			t.Errorf("%s: %d objects, want %d", reason, got[reason], count)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v: a reason without objects is 0 and not absent", got)
	}
}

// TestEachWayInWhichAStreamEndsIsCounted by a label of its own.
func TestEachWayInWhichAStreamEndsIsCounted(t *testing.T) {
	for _, field := range []string{
		"Refused", "Overfull", "PeerLimited", "NodeLimited", "Doubted", "Unauthorized", "Invalid", "Oversized", "AckTimeouts", "Takeovers",
		"DigestMismatches", "Aged",
	} {
		var stats discovery.Stats
		reflect.ValueOf(&stats).Elem().FieldByName(field).SetUint(7)
		count := 0
		for _, value := range ended(stats) {
			if value == 7 {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%s is exported %d times", field, count)
		}
	}
}

// TestNACKsAreCountedByReason: what the kernel refused apart from what could not be used.
func TestNACKsAreCountedByReason(t *testing.T) {
	m := New(Config{})
	m.Acknowledged(discovery.Acknowledged{Bytes: 100})
	m.Acknowledged(discovery.Acknowledged{Kernel: true, Rejected: true})
	m.Acknowledged(discovery.Acknowledged{Rejected: true})
	m.Acknowledged(discovery.Acknowledged{Rejected: true})
	for reason, want := range map[string]float64{nackKernel: 1, nackRejected: 2} {
		if got := testutil.ToFloat64(m.nacks.WithLabelValues(reason)); got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	if n := testutil.CollectAndCount(m.pushed); n != 1 {
		t.Errorf("%d histograms of what was pushed", n)
	}
}
