package discovery

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/brake"
)

// TestANodeKeepsItsServicesFromAControlPlaneThatStartsWithNone, until that is trusted.
func TestANodeKeepsItsServicesFromAControlPlaneThatStartsWithNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		good := newReplica(t, nil)
		good.commit(t, "services", services(50, 80)...)
		var trusted atomic.Bool
		blind := newReplica(t, func(c *Config) {
			c.Doubt = func(held, served int) bool {
				return !trusted.Load() && brake.DefaultLimits().Mass(held-served, held)
			}
		})
		defer blind.stop()
		blind.commit(t, "services")
		var to atomic.Pointer[replica]
		to.Store(good)
		a := follow(t, "n", func(ctx context.Context, address string) (net.Conn, error) { return to.Load().dial(ctx, address) }, nil)
		defer a.stop()
		fresh := follow(t, "fresh", blind.dial, nil)
		defer fresh.stop()
		synctest.Wait()
		to.Store(blind)
		good.stop()
		time.Sleep(time.Minute)
		if len(a.holds()) != 50 || !strings.Contains(a.Status().LastError, "the node keeps them until that is confirmed") {
			t.Errorf("holds %d, last error %q", len(a.holds()), a.Status().LastError)
		}
		if !fresh.Status().Connected || blind.server.Stats().Doubted == 0 {
			t.Error("a node that holds nothing is not served, or nothing is counted")
		}
		trusted.Store(true)
		time.Sleep(10 * time.Second)
		if len(a.holds()) != 0 || !a.Status().Connected {
			t.Errorf("holds %d: %+v", len(a.holds()), a.Status())
		}
	})
}
