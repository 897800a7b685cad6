package tracing

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/test/cost"
)

// BenchmarkAnswers is a revision that 5,000 nodes are sent and acknowledge, traced and not:
// the processor time of all that tracing does for each node.
func BenchmarkAnswers(b *testing.B) {
	const nodes = 5000
	names := make([]string, nodes)
	for i := range names {
		names[i] = fmt.Sprintf("node-%d", i)
	}
	for name, rate := range map[string]int{"traced": 1_000_000, "not sampled": 0} {
		b.Run(name, func(b *testing.B) {
			tracer := New(Config{Exporter: &memory{}, PerMillion: rate, Logger: hclog.NewNullLogger()})
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error)
			go func() { ended <- tracer.Run(ctx) }()
			revision := uint64(1)
			begun := cost.CPU()
			for b.Loop() {
				now := time.Now()
				tracer.Round(round.Result{Revision: revision + 1, Services: 1, Resources: 1, Began: now, Computed: now, Committed: now})
				for _, node := range names {
					pushed := discovery.Pushed{Node: node, From: revision, To: revision + 1, At: now}
					tracer.Pushed(pushed)
					tracer.Acknowledged(discovery.Acknowledged{Pushed: pushed, Received: now})
				}
				revision++
				time.Sleep(2 * tick) // Until the trace is complete.
			}
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
			if stats := tracer.Stats(); stats.Missed > 0 || stats.Dropped > 0 || rate > 0 && stats.Exported != uint64(b.N) {
				b.Fatalf("%+v of %d traces", stats, b.N)
			}
			b.ReportMetric(float64((cost.CPU()-begun).Nanoseconds())/1000/float64(b.N*nodes), "cpu-us/answer")
		})
	}
}
