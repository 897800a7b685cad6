package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
)

func TestACollectionThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1", "10.244.2.2")))
		r.send(transaction(endpoints("demo/web", "10.244.1.1")))
		r.plane.Fail(errKernel)
		time.Sleep(collectDelay)
		synctest.Wait()
		if ip6, ok := r.collected[dataplane.IPv6]; !errors.Is(r.collected[dataplane.IPv4], errKernel) || ip6 != nil || !ok {
			t.Errorf("told of %v, want of the kernel's error for IPv4 and of none for IPv6", r.collected)
		}
	})
}
