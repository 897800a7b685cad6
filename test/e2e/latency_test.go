package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

const (
	flips = 50
	// tolerable bounds one flip on any machine; the figures are in the log.
	tolerable = 10 * time.Second
)

// measureFlips moves a Service between two endpoints and measures the time from
// before the API is asked to the first connection that reaches the other one.
func (w *world) measureFlips(t *testing.T) {
	ctx := t.Context()
	service := need(w.objects.CreateService(ctx, "flip", corev1.ServiceTypeClusterIP))(t)
	address := service.Spec.ClusterIP + ":80"
	check(t, w.objects.SetEndpoints(ctx, "flip", w.b.IP))
	w.expectAnswers(t, address, w.b)

	stream := traffic.Start(w.client, address, 100*time.Microsecond)
	defer stream.Stop()
	var whole, write, rest []time.Duration
	for i := range flips {
		to := w.b
		if i%2 == 0 {
			to = w.c
		}
		time.Sleep(20 * time.Millisecond) // Idle, as clusters are between changes.
		begun := time.Now()
		check(t, w.objects.SetEndpoints(ctx, "flip", to.IP))
		written := time.Now()
		reached, err := stream.Wait(to.Name, begun, tolerable)
		check(t, err)
		whole, write, rest = append(whole, reached.Sub(begun)), append(write, written.Sub(begun)), append(rest, reached.Sub(written))
	}
	for name, list := range map[string][]time.Duration{
		"from before the write to the first packet": whole, "the write alone": write, "from the API server's answer to the first packet": rest,
	} {
		t.Logf("%s, of %d changes: p50 %v, p99 %v", name, flips, percentile(list, 50), percentile(list, 99))
	}
	// The same as the output of a benchmark, for test/bench.
	for name, list := range map[string][]time.Duration{"APIWriteToPacket": whole, "APIWriteAlone": write, "APIAnswerToPacket": rest} {
		fmt.Printf("Benchmark%s %d %d p50-us %d p99-us\n", name, flips, percentile(list, 50).Microseconds(), percentile(list, 99).Microseconds())
	}
}

func percentile(list []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(10 * time.Microsecond)
}
