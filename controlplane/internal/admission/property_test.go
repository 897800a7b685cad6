package admission_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Few names and few addresses, so that conflicts and loops are common.
var (
	names  = []string{"a", "b", "c", "d", "e"}
	v4Pool = []string{"10.96.0.1", "10.96.0.2", "10.96.0.3"}
	v6Pool = []string{"2001:db8::1", "2001:db8::2"}
)

// ages draws the age of a Service.
type ages func(t *rapid.T, name string) int

// distinctAges never gives two Services the same age.
func distinctAges(t *rapid.T, name string) int {
	return rapid.IntRange(0, 2).Draw(t, "age")*len(names) + slices.Index(names, name)
}

// equalAges often does.
func equalAges(t *rapid.T, _ string) int { return rapid.IntRange(0, 1).Draw(t, "age") }

func drawService(t *rapid.T, age ages) *corev1.Service {
	ips := []string{rapid.SampledFrom(v4Pool).Draw(t, "v4")}
	if rapid.Bool().Draw(t, "dual") {
		ips = append(ips, rapid.SampledFrom(v6Pool).Draw(t, "v6"))
	}
	name := rapid.SampledFrom(names).Draw(t, "service")
	s := service(name, age(t, name), ips...)
	s.Spec.ExternalIPs = rapid.SliceOfN(rapid.SampledFrom(append([]string{"192.0.2.1"}, v4Pool...)), 0, 2).Draw(t, "external")
	s.Spec.Ports[0].Port = rapid.SampledFrom([]int32{80, 80, 80, 81, 0}).Draw(t, "port")
	return s
}

func drawSlice(t *rapid.T) *discoveryv1.EndpointSlice {
	s := slice(rapid.SampledFrom(names).Draw(t, "slice"), rapid.SampledFrom(names).Draw(t, "owner"),
		rapid.SliceOfN(rapid.SampledFrom(append([]string{"10.0.0.1", "127.0.0.1"}, v4Pool...)), 0, 4).Draw(t, "endpoints")...)
	if rapid.IntRange(0, 5).Draw(t, "bad") == 0 {
		s.AddressType = "IPv5"
	}
	return s
}

// history is what a source last said about each object: the last usable one, and
// an unusable one after it.
type history map[string][]any

func (h history) set(id string, object any, usable bool) {
	if usable {
		h[id] = []any{object}
		return
	}
	if last := h[id]; len(last) > 0 && isUsable(last[0]) {
		h[id] = []any{last[0], object}
		return
	}
	h[id] = []any{object}
}

func isUsable(object any) bool {
	switch o := object.(type) {
	case *corev1.Service:
		return o.Spec.Ports[0].Port != 0
	case *discoveryv1.EndpointSlice:
		return o.AddressType != "IPv5"
	case *networkingv1.ServiceCIDR:
		return o.Spec.CIDRs[0] != "bad"
	}
	return false
}

// content is everything that a store says.
type content struct {
	Services map[string]*model.Service
	Slices   map[string][]*model.Slice
	Problems []model.Problem
}

func (w world) content() content {
	c := content{Services: map[string]*model.Service{}, Slices: map[string][]*model.Slice{}, Problems: w.store.Problems()}
	for _, name := range names {
		s, owned := w.store.Service(model.ParseKey(name))
		if s != nil {
			c.Services[name] = s
		}
		if len(owned) > 0 {
			c.Slices[name] = owned
		}
	}
	slices.SortStableFunc(c.Problems, func(a, b model.Problem) int { return cmpStrings(a.String(), b.String()) })
	return c
}

func cmpStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestWithDistinctAgesAnyOrderOfEventsLeadsToTheSameContent: after random events
// in random batches the store says what it would say if it were told the final
// objects only, in another order.
func TestWithDistinctAgesAnyOrderOfEventsLeadsToTheSameContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, last := newWorld(), history{}
		for range rapid.IntRange(1, 15).Draw(t, "batches") {
			batch(t, w, last, distinctAges)
		}
		scratch := newWorld()
		ids := slices.Sorted(maps.Keys(last))
		for _, id := range rapid.Permutation(ids).Draw(t, "order") {
			scratch.set(last[id]...)
		}
		if diff := cmp.Diff(scratch.content(), w.content(), compareAddrs); diff != "" {
			t.Fatalf("-from scratch +after events:\n%s", diff)
		}
		checkInvariants(t, w)
		checkEveryRejectionHasAReason(t, w, last)
	})
}

// TestOfTheSameAgeTheHolderStays: whatever happens, a Service in force that does
// not change its claims only gives way to an older one; and after each batch as
// many are in force as can be.
func TestOfTheSameAgeTheHolderStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, last := newWorld(), history{}
		for range rapid.IntRange(1, 15).Draw(t, "batches") {
			before := w.content().Services
			batch(t, w, last, equalAges)
			checkInvariants(t, w)
			checkEveryRejectionHasAReason(t, w, last)
			checkHoldersStay(t, w, before, last)
		}
	})
}

func batch(t *rapid.T, w world, last history, age ages) {
	w.Update(func(b *admission.Batch) {
		for range rapid.IntRange(1, 4).Draw(t, "events") {
			event(t, b, last, age)
		}
	})
}

func event(t *rapid.T, b *admission.Batch, last history, age ages) {
	switch rapid.SampledFrom([]string{"set service", "set service", "set slice", "delete service", "delete slice", "set CIDR", "delete CIDR"}).Draw(t, "event") {
	case "set service":
		s := drawService(t, age)
		b.SetService(s)
		last.set("service "+s.Name, s, isUsable(s))
	case "set slice":
		s := drawSlice(t)
		b.SetEndpointSlice(s)
		last.set("slice "+s.Name, s, isUsable(s))
	case "delete service":
		name := rapid.SampledFrom(names).Draw(t, "service")
		b.DeleteService(model.ParseKey(name))
		delete(last, "service "+name)
	case "set CIDR":
		c := serviceCIDR(rapid.SampledFrom([]string{"k", "l"}).Draw(t, "CIDR"), rapid.SampledFrom([]string{"10.96.0.0/31", "10.96.0.0/24", "192.0.2.0/24", "2001:db8::/64", "bad"}).Draw(t, "range"))
		b.SetServiceCIDR(c)
		last.set("CIDR "+c.Name, c, isUsable(c))
	case "delete CIDR":
		name := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "CIDR")
		b.DeleteServiceCIDR(name)
		delete(last, "CIDR "+name)
	case "delete slice":
		name := rapid.SampledFrom(names).Draw(t, "slice")
		b.DeleteEndpointSlice(model.ParseKey(name))
		delete(last, "slice "+name)
	}
}

// claimant returns the last good state of a Service, or nil.
func (h history) claimant(name string) *corev1.Service {
	if said := h["service "+name]; len(said) > 0 && isUsable(said[0]) {
		return said[0].(*corev1.Service)
	}
	return nil
}

// rivals returns the Services in force that share a ClusterIP with one that is not.
func (w world) rivals(s *corev1.Service) []*model.Service {
	var list []*model.Service
	for _, o := range w.content().Services {
		if slices.ContainsFunc(o.ClusterIPs, func(addr netip.Addr) bool { return slices.Contains(s.Spec.ClusterIPs, addr.String()) }) {
			list = append(list, o)
		}
	}
	return list
}

// checkEveryRejectionHasAReason checks that what is in force is maximal: who is
// not in force shares an address with somebody in force who is not younger.
func checkEveryRejectionHasAReason(t *rapid.T, w world, last history) {
	for _, name := range names {
		s := last.claimant(name)
		if s == nil || w.service(name) != nil {
			continue
		}
		if !slices.ContainsFunc(w.rivals(s), func(o *model.Service) bool { return !o.Created.After(s.CreationTimestamp.Time) }) {
			t.Fatalf("%s is not in force, but nobody of its age or older holds one of %v", name, s.Spec.ClusterIPs)
		}
	}
}

func checkHoldersStay(t *rapid.T, w world, before map[string]*model.Service, last history) {
	for name, held := range before {
		s := last.claimant(name)
		if s == nil || w.service(name) != nil || !s.CreationTimestamp.Time.Equal(held.Created) || fmt.Sprint(s.Spec.ClusterIPs) != fmt.Sprint(held.ClusterIPs) {
			continue
		}
		if !slices.ContainsFunc(w.rivals(s), func(o *model.Service) bool { return o.Created.Before(held.Created) }) {
			t.Fatalf("%s held %v and lost it to nobody older", name, held.ClusterIPs)
		}
	}
}

// checkInvariants checks what must hold of any content.
func checkInvariants(t *rapid.T, w world) {
	c := w.content()
	held := map[string]string{}
	for name, s := range c.Services {
		for _, addr := range s.ClusterIPs {
			if other, taken := held[addr.String()]; taken {
				t.Fatalf("%s and %s both hold %v", name, other, addr)
			}
			held[addr.String()] = name
		}
	}
	for _, s := range c.Services {
		for _, addr := range s.ExternalIPs {
			if held[addr.String()] != "" {
				t.Fatalf("external IP %v of %v is a ClusterIP", addr, s.Key)
			}
			for _, cidr := range w.store.ServiceCIDRs() {
				if slices.ContainsFunc(cidr.CIDRs, func(p netip.Prefix) bool { return p.Contains(addr) }) {
					t.Fatalf("external IP %v of %v lies in ServiceCIDR %s", addr, s.Key, cidr.Name)
				}
			}
		}
	}
	for _, owned := range c.Slices {
		for _, s := range owned {
			for _, e := range s.Endpoints {
				if held[e.Addr.String()] != "" || e.Addr.IsLoopback() {
					t.Fatalf("endpoint %v of %v is in force", e.Addr, s.Key)
				}
			}
		}
	}
}

// BenchmarkOneOfMany measures one endpoint change among 10,000 Services of 10
// endpoints: it must not depend on their number.
func BenchmarkOneOfMany(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld()
			w.Update(func(batch *admission.Batch) {
				for i := range n {
					batch.SetService(service(fmt.Sprint("s", i), 0, fmt.Sprintf("10.96.%d.%d", i/250, i%250+1)))
					batch.SetEndpointSlice(slice(fmt.Sprint("s", i), fmt.Sprint("s", i), tenAddresses(i)...))
				}
			})
			changed := [2]*discoveryv1.EndpointSlice{slice("s7", "s7", tenAddresses(7)...), slice("s7", "s7", tenAddresses(n)...)}
			b.ResetTimer()
			for i := range b.N {
				w.set(changed[i%2])
			}
		})
	}
}

func tenAddresses(i int) []string {
	var list []string
	for k := range 10 {
		list = append(list, fmt.Sprintf("10.%d.%d.%d", i/250, i%250, k+1))
	}
	return list
}
