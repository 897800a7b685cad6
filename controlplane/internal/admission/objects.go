package admission

import (
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// SetService adds or replaces a Service.
func (b *Batch) SetService(in *corev1.Service) {
	for _, o := range b.w.observers {
		o.ServiceSet(in)
	}
	key := model.Key{Namespace: in.Namespace, Name: in.Name}
	value, problems, err := objects.Service(in)
	if err == nil {
		err = b.w.limits.check(value)
	}
	s := b.w.services[key]
	if s == nil {
		if value == nil && err == nil {
			return
		}
		s = &service{key: key}
		b.w.services[key] = s
	}
	b.markService(s)
	if err != nil {
		s.problems = refusal(objects.ServiceName(key), err, s.value != nil)
		return
	}
	s.problems, s.fields = problems, objects.OutsideFields(in)
	b.replaceService(s, value)
}

// DeleteService removes a Service if it is there.
func (b *Batch) DeleteService(key model.Key) {
	for _, o := range b.w.observers {
		o.ServiceDeleted(key)
	}
	if s := b.w.services[key]; s != nil {
		b.markService(s)
		s.problems = nil
		b.replaceService(s, nil)
	}
}

// replaceService changes the last good state; nil is none.
func (b *Batch) replaceService(s *service, value *model.Service) {
	if old := s.value; old != nil {
		for _, addr := range outsideIPs(old) {
			b.w.outside.remove(addr, s)
		}
	}
	if !sameClaims(s.value, value) {
		b.replaceClaims(s, value)
	}
	s.value = value
	if value != nil {
		for _, addr := range outsideIPs(value) {
			b.w.outside.add(addr, s)
		}
	}
}

func (b *Batch) replaceClaims(s *service, value *model.Service) {
	if old := s.value; old != nil {
		b.touch(s)
		b.w.claims.remove(s)
		for _, addr := range old.ClusterIPs {
			b.enqueueClaimants(addr)
		}
	}
	s.value = value
	if value == nil {
		s.admitted = false
		return
	}
	b.touch(s)
	b.w.claims.add(s)
	for _, addr := range value.ClusterIPs {
		b.enqueueClaimants(addr)
	}
}

func sameClaims(a, b *model.Service) bool {
	return a != nil && b != nil && a.Created.Equal(b.Created) && slices.Equal(a.ClusterIPs, b.ClusterIPs)
}

// SetEndpointSlice adds or replaces an EndpointSlice.
func (b *Batch) SetEndpointSlice(in *discoveryv1.EndpointSlice) {
	for _, o := range b.w.observers {
		o.SliceSet(in)
	}
	key := model.Key{Namespace: in.Namespace, Name: in.Name}
	value, problems, err := objects.Slice(in)
	s := b.w.slices[key]
	if s == nil {
		if value == nil && err == nil {
			return
		}
		s = &slice{key: key}
		b.w.slices[key] = s
	}
	b.markSlice(s)
	if err != nil {
		s.problems = refusal(objects.SliceName(key), err, s.value != nil)
		return
	}
	s.problems = problems
	b.replaceSlice(s, value)
}

// DeleteEndpointSlice removes an EndpointSlice if it is there.
func (b *Batch) DeleteEndpointSlice(key model.Key) {
	for _, o := range b.w.observers {
		o.SliceDeleted(key)
	}
	if s := b.w.slices[key]; s != nil {
		b.markSlice(s)
		s.problems = nil
		b.replaceSlice(s, nil)
	}
}

// replaceSlice changes the last good state; nil is none. Most updates change an
// endpoint's condition and no address.
func (b *Batch) replaceSlice(s *slice, value *model.Slice) {
	old := endpointsOf(s.value)
	s.value = value
	now := endpointsOf(value)
	if slices.EqualFunc(old, now, func(x, y model.Endpoint) bool { return x.Addr == y.Addr }) {
		return
	}
	for i := range old {
		b.w.endpoints.remove(old[i].Addr, s)
	}
	for i := range now {
		b.w.endpoints.add(now[i].Addr, s)
	}
}

func endpointsOf(s *model.Slice) []model.Endpoint {
	if s == nil {
		return nil
	}
	return s.Endpoints
}

// SetNode adds or replaces a Node.
func (b *Batch) SetNode(in *corev1.Node) {
	value, problems, err := objects.Node(in)
	name := objects.NodeName(in.Name)
	if err != nil {
		b.SetProblems(name, refusal(name, err, true))
		return
	}
	b.SetProblems(name, problems)
	b.tx.SetNode(value)
}

// DeleteNode removes a Node if it is there.
func (b *Batch) DeleteNode(name string) {
	b.SetProblems(objects.NodeName(name), nil)
	b.tx.DeleteNode(name)
}

// SetServiceCIDR adds or replaces a ServiceCIDR.
func (b *Batch) SetServiceCIDR(in *networkingv1.ServiceCIDR) {
	value, problems, err := objects.ServiceCIDR(in)
	name := objects.ServiceCIDRName(in.Name)
	if err != nil {
		b.SetProblems(name, refusal(name, err, slices.Contains(b.tx.ServiceCIDRs(), in.Name)))
		return
	}
	b.SetProblems(name, problems)
	b.tx.SetServiceCIDR(value)
	b.replaceRange(in.Name, value.CIDRs)
}

// DeleteServiceCIDR removes a ServiceCIDR if it is there.
func (b *Batch) DeleteServiceCIDR(name string) {
	b.SetProblems(objects.ServiceCIDRName(name), nil)
	b.tx.DeleteServiceCIDR(name)
	b.replaceRange(name, nil)
}

// refusal turns the error of an unusable object into problems that say what is
// done about it.
func refusal(object string, err error, known bool) []model.Problem {
	consequence := "; the object is not in force"
	if known {
		consequence = "; its last good state stays in force"
	}
	var refused *objects.Error
	if !errors.As(err, &refused) {
		return []model.Problem{{Object: object, Message: err.Error() + consequence}}
	}
	problems := slices.Clone(refused.Problems)
	for i := range problems {
		problems[i].Message += consequence
	}
	return problems
}
