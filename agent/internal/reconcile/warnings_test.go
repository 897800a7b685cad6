package reconcile

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

func warning(name, message string) *discoveryv1.Warning {
	return &discoveryv1.Warning{Name: &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_SERVICE, Name: name}, Message: message}
}

// said returns the warnings of an answer, one after the other.
func said(result subscribe.Result) string {
	var list []string
	for _, w := range result.Warnings {
		list = append(list, w.GetName().GetName()+" "+w.GetMessage())
	}
	return strings.Join(list, ", ")
}

// last returns what was acknowledged last beside transactions.
func (r *rig) last() (result subscribe.Result, count int) {
	time.Sleep(time.Nanosecond)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.acked) > 0 {
		result = r.acked[len(r.acked)-1]
	}
	return result, len(r.acked)
}

func TestWarningsAreAcknowledgedAnewWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		expect := func(when, want string, count int) {
			t.Helper()
			if result, got := r.last(); said(result) != want || got != count {
				t.Errorf("%s: %d acknowledgements, the last with %q; want %d and %q", when, got, said(result), count, want)
			}
		}
		r.send(transaction(service("demo/web", "10.96.0.1", 0)))
		expect("nothing is wrong", "", 0)
		r.loop.Warn("b", []*discoveryv1.Warning{warning("demo/web", "port taken")})
		expect("one source", "demo/web port taken", 1)
		r.loop.Warn("a", []*discoveryv1.Warning{warning("demo/a", "too")})
		expect("two sources", "demo/a too, demo/web port taken", 2)
		r.loop.Warn("a", []*discoveryv1.Warning{warning("demo/a", "too")})
		expect("the same again", "demo/a too, demo/web port taken", 2)
		if result := r.send(transaction(service("demo/web", "10.96.0.2", 0))); said(result) != "demo/a too, demo/web port taken" {
			t.Errorf("the next transaction is answered with %q", said(result))
		}
		expect("told with a transaction", "demo/a too, demo/web port taken", 2)
		r.loop.Warn("b", nil)
		expect("one is well again", "demo/a too", 3)
		r.loop.Warn("a", nil)
		expect("all is well again", "", 4)
	})
}

// TestAWarningDoesNotHideAFailure: the last word counts, so it must say everything.
func TestAWarningDoesNotHideAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.plane.Fail(errKernel)
		r.send(transaction(service("demo/web", "10.96.0.1", 0), service("demo/bad", "nonsense", 0)))
		r.loop.Warn("a", []*discoveryv1.Warning{warning("demo/web", "port taken")})
		if result, _ := r.last(); !errors.Is(result.Err, errKernel) || len(result.Rejected) != 1 || said(result) == "" {
			t.Errorf("acknowledged %+v", result)
		}
	})
}

func TestAWarningThatCouldNotBeToldIsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(service("demo/web", "10.96.0.1", 0)))
		r.mu.Lock()
		r.deaf = true
		r.mu.Unlock()
		r.loop.Warn("a", []*discoveryv1.Warning{warning("demo/web", "port taken")})
		r.last()
		r.mu.Lock()
		r.deaf = false
		r.mu.Unlock()
		time.Sleep(2 * lookPeriod)
		if result, count := r.last(); count != 1 || said(result) != "demo/web port taken" {
			t.Errorf("%d acknowledgements, the last with %q", count, said(result))
		}
	})
}

func TestSysctlsThatCannotBeSetAreAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		result := r.send(transaction(nodeConfig(func(c *discoveryv1.NodeConfig) { c.Conntrack = &discoveryv1.Conntrack{MaxPerCore: 1} })))
		if len(result.Warnings) != 1 {
			t.Fatalf("warnings %v", result.Warnings)
		}
		w := result.Warnings[0]
		if w.GetReason() != "FailedToSetSysctl" || w.GetName().GetName() != "node-a" || w.GetName().GetKind() != discoveryv1.Kind_KIND_NODE_CONFIG || !strings.Contains(w.GetMessage(), errKernel.Error()) {
			t.Errorf("warning %v", w)
		}
	})
}
