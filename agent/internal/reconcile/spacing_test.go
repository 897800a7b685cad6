package reconcile

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// TestChangesKeepTheirDistance is S124.
func TestChangesKeepTheirDistance(t *testing.T) {
	for name, test := range map[string]struct {
		period time.Duration
		// waits is how long each of four transactions takes that come one right after the
		// other, the third a while later.
		waits [4]time.Duration
	}{
		"no period":           {0, [4]time.Duration{0, 0, 0, 0}},
		"five seconds":        {5 * time.Second, [4]time.Duration{0, 5 * time.Second, 0, 5 * time.Second}},
		"as long as may be":   {time.Hour, [4]time.Duration{0, maxSpacing, 0, maxSpacing}},
		"less than the pause": {time.Second, [4]time.Duration{0, time.Second, 0, time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, fake.New(dataplane.IPv4), "")
				defer r.close()
				config := nodeConfig(func(c *discoveryv1.NodeConfig) { c.MinSyncPeriod = durationpb.New(test.period) })
				for i, want := range test.waits {
					if i == 2 {
						time.Sleep(time.Minute)
					}
					begun := time.Now()
					if result := r.send(transaction(config, service("demo/web", "10.96.0.1", 0))); result.Err != nil {
						t.Fatal(result.Err)
					}
					if took := time.Since(begun); took != want {
						t.Errorf("transaction %d took %s, want %s", i+1, took, want)
					}
				}
			})
		})
	}
}
