package reconcile

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
)

func TestCompareTellsHowTheKernelDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		if got := r.loop.Compare(t.Context()); !strings.Contains(got.GetError(), "no control plane has spoken") {
			t.Errorf("before the first transaction: %v", got)
		}
		r.send(transaction(nodeConfig(nil), dualService("demo/web", "10.96.0.1", "fd00:96::1"), endpoints("demo/web", "10.244.1.1")))
		if got := r.loop.Compare(t.Context()); got.GetError() != "" || len(got.GetDifferences()) > 0 || got.GetFrontends() != 2 {
			t.Errorf("all is in force: %v", got)
		}
		r.plane6.Lose(tcp("[fd00:96::1]:80"))
		got := r.loop.Compare(t.Context())
		if len(got.GetDifferences()) != 1 || got.GetDifferences()[0].GetFamily() != "IPv6" || got.GetDifferences()[0].GetKey() != "TCP [fd00:96::1]:80" {
			t.Errorf("a frontend is gone: %v", got)
		}
		r.plane.Fail(errors.New("no buffer space"))
		r.send(transaction(endpoints("demo/web", "10.244.1.2")))
		if got := r.loop.Compare(t.Context()); got.GetError() != "IPv4: everything is about to be written anew, since that failed: no buffer space" {
			t.Errorf("while a family fails: %v", got)
		}
	})
}
