package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
)

func TestACollectionThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1", "10.244.2.2")))
		r.send(transaction(endpoints("demo/web", "10.244.1.1")))
		r.plane.Fail(errKernel)
		time.Sleep(collectDelay)
		synctest.Wait()
		if len(r.collected) != len(families) || !errors.Is(r.collected[0], errKernel) {
			t.Errorf("told of %v, want of the kernel's error for each family", r.collected)
		}
	})
}
