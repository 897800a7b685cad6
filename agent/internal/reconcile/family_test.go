package reconcile

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/fake"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

func dualService(name, v4, v6 string) *discoveryv1.Resource {
	r := service(name, v4, 0)
	r.GetService().ClusterIps = append(r.GetService().ClusterIps, v6)
	return r
}

// TestAFamilyThatFailsDoesNotStopTheOther is S106.
func TestAFamilyThatFailsDoesNotStopTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.send(transaction(nodeConfig(nil), dualService("demo/web", "10.96.0.1", "fd00:96::1"), endpoints("demo/web", "10.244.1.1", "fd00:244::1")))
		r.plane6.Fail(errKernel)
		result := r.send(transaction(endpoints("demo/web", "10.244.1.2", "fd00:244::2")))
		if !errors.Is(result.Err, errKernel) {
			t.Errorf("acknowledged with %v, want the error of the family that failed", result.Err)
		}
		r.expect("10.96.0.1:80", "10.244.1.2:8080")
		for range 3 { // Others follow while it goes on failing, each as a change.
			time.Sleep(time.Minute)
			r.send(transaction(endpoints("demo/web", "10.244.1.3", "fd00:244::3")))
			r.expect("10.96.0.1:80", "10.244.1.3:8080")
			r.send(transaction(endpoints("demo/web", "10.244.1.4", "fd00:244::4")))
			r.expect("10.96.0.1:80", "10.244.1.4:8080")
		}
		if calls := r.plane.Calls(); calls.Replace != 1 || calls.Apply != 7 {
			t.Errorf("the healthy family had %+v, want one Replace and seven Applys", calls)
		}
		r.plane6.Fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if backends, _ := r.plane6.Backends(tcp("[fd00:96::1]:80")); len(backends) != 1 || backends[0].String() != "[fd00:244::4]:8080" {
			t.Errorf("the family that failed has %v once it succeeds", backends)
		}
		if last := r.acked[len(r.acked)-1]; last.Err != nil {
			t.Errorf("the last word is %v", last.Err)
		}
	})
}

func TestWhatBothFamiliesFailForIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.plane.Fail(errKernel)
		r.plane6.Fail(errKernel)
		result := r.send(transaction(nodeConfig(nil), dualService("demo/web", "10.96.0.1", "fd00:96::1"), endpoints("demo/web", "10.244.1.1")))
		if result.Err == nil || result.Err.Error() != errKernel.Error() {
			t.Errorf("acknowledged with %q, want %q", result.Err, errKernel)
		}
	})
}

// TestANodeWithoutItsPrimaryFamilySaysSo is S112 and S113.
func TestANodeWithoutItsPrimaryFamilySaysSo(t *testing.T) {
	for name, test := range map[string]struct {
		ips      []string
		rejected bool
	}{
		"the first address is IPv6":   {[]string{"fd00:168::2", "192.168.0.2"}, true},
		"the first address is IPv4":   {[]string{"192.168.0.2", "fd00:168::2"}, false},
		"the Node has no address yet": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, fake.New(dataplane.IPv4), "")
				defer r.close()
				r.plane6.Miss()
				result := r.send(transaction(nodeConfig(func(c *discoveryv1.NodeConfig) { c.NodeIps = test.ips }),
					dualService("demo/web", "10.96.0.1", "fd00:96::1"), endpoints("demo/web", "10.244.1.1")))
				if result.Err != nil {
					t.Error(result.Err)
				}
				rejected := slices.ContainsFunc(result.Rejected, func(r *discoveryv1.RejectedResource) bool {
					return r.GetName().GetKind() == discoveryv1.Kind_KIND_NODE_CONFIG && strings.Contains(r.GetReason(), "primary family is IPv6")
				})
				if rejected != test.rejected {
					t.Errorf("rejected: %v", result.Rejected)
				}
				r.expect("10.96.0.1:80", "10.244.1.1:8080")
			})
		})
	}
}

func TestAServiceThatDoesNotFitIsRejectedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.loop.table.SetLimits(ruleset.Limits{Service: 10})
		r.send(transaction(nodeConfig(nil), service("demo/web", "10.96.0.1", 0), endpoints("demo/web", "10.244.1.1")))
		many := []string{"10.244.1.1", "10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5", "10.244.1.6", "10.244.1.7", "10.244.1.8"}
		result := r.send(transaction(endpoints("demo/web", many...)))
		if len(result.Rejected) != 1 || result.Rejected[0].GetName().GetName() != "demo/web" || result.Rejected[0].GetVersion() != 1 {
			t.Fatalf("rejected: %v", result.Rejected)
		}
		r.expect("10.96.0.1:80", "10.244.1.1:8080")
		if result = r.send(transaction(endpoints("demo/web", many[:3]...))); len(result.Rejected) != 0 {
			t.Errorf("rejected: %v", result.Rejected)
		}
		r.expect("10.96.0.1:80", "10.244.1.1:8080", "10.244.1.2:8080", "10.244.1.3:8080")
	})
}

func TestAFamilyThatTheNodeLacksIsToldOfAsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fake.New(dataplane.IPv4), "")
		defer r.close()
		r.plane6.Miss()
		r.send(transaction(nodeConfig(nil), dualService("demo/web", "10.96.0.1", "fd00:96::1")))
		r.send(transaction(endpoints("demo/web", "10.244.1.1")))
		r.mu.Lock()
		defer r.mu.Unlock()
		if want := map[dataplane.Family]bool{dataplane.IPv4: false, dataplane.IPv6: true}; !maps.Equal(r.missing, want) {
			t.Errorf("missing: %v, want %v", r.missing, want)
		}
	})
}
