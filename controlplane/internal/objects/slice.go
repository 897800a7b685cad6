package objects

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/portolan-net/portolan/api/address"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// LabelHeadless marks a slice of a headless Service, whatever its value.
const LabelHeadless = corev1.IsHeadlessService

// AnnotationTriggered is where the EndpointSlice controller says when the change
// happened that made it write the slice.
const AnnotationTriggered = corev1.EndpointsLastChangeTriggerTime

// Slice reads an EndpointSlice. Slices of no Service, of a headless Service and
// of names instead of addresses are not used.
func Slice(in *discoveryv1.EndpointSlice) (*model.Slice, []model.Problem, error) {
	key := model.Key{Namespace: in.Namespace, Name: in.Name}
	service := in.Labels[discoveryv1.LabelServiceName]
	_, headless := in.Labels[LabelHeadless]
	if service == "" || headless || in.AddressType == discoveryv1.AddressTypeFQDN {
		return nil, nil, nil
	}
	r := &report{object: SliceName(key)}
	if in.AddressType != discoveryv1.AddressTypeIPv4 && in.AddressType != discoveryv1.AddressTypeIPv6 {
		r.fail("addressType", shorten(string(in.AddressType)), "expected IPv4, IPv6 or FQDN")
	}
	out := &model.Slice{
		Key:     key,
		Service: service,
		Is6:     in.AddressType == discoveryv1.AddressTypeIPv6,
		Ports:   slicePorts(r, in.Ports),
	}
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	out.Endpoints = endpoints(r, out.Is6, in.Endpoints)
	out.Triggered = triggered(r, in.Annotations)
	return out, r.problems(), nil
}

// triggered is in UTC, so that equal times are equal to reflect.DeepEqual.
func triggered(r *report, annotations map[string]string) time.Time {
	value, ok := annotations[AnnotationTriggered]
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		r.skip("metadata.annotations["+AnnotationTriggered+"]", shorten(value), "expected a time as in RFC 3339; how long the change takes is not measured")
		return time.Time{}
	}
	return at.UTC()
}

// slicePorts leaves out ports without a name or number: they match no port of a
// Service.
func slicePorts(r *report, in []discoveryv1.EndpointPort) []model.SlicePort {
	var list []model.SlicePort
	for i, p := range in {
		if p.Name == nil || p.Port == nil || *p.Port == 0 {
			continue
		}
		field := index("ports", i)
		var proto corev1.Protocol
		if p.Protocol != nil {
			proto = *p.Protocol
		}
		list = append(list, model.SlicePort{
			Name:     *p.Name,
			Protocol: protocol(r, field+".protocol", proto),
			Port:     portNumber(r, field+".port", *p.Port),
		})
	}
	return list
}

func endpoints(r *report, is6 bool, in []discoveryv1.Endpoint) []model.Endpoint {
	var list []model.Endpoint
	for i := range in {
		if len(in[i].Addresses) == 0 {
			continue
		}
		addr, ok := endpointAddr(r, is6, i, in[i].Addresses[0])
		if !ok {
			continue
		}
		if list == nil {
			list = make([]model.Endpoint, 0, len(in))
		}
		list = append(list, endpoint(addr, &in[i]))
	}
	return list
}

func endpointAddr(r *report, is6 bool, i int, value string) (netip.Addr, bool) {
	addr, err := address.Parse(value)
	if err != nil {
		r.skip(index("endpoints", i)+".addresses[0]", shorten(value), "expected an IP address; the endpoint is ignored")
		return addr, false
	}
	if err := address.CheckEndpoint(addr); err != nil {
		r.skip(index("endpoints", i)+".addresses[0]", value, "%v; the endpoint is ignored", err)
		return addr, false
	}
	if addr.Is6() != is6 {
		r.skip(index("endpoints", i)+".addresses[0]", value, "expected an address of the slice's addressType; the endpoint is ignored")
		return addr, false
	}
	return addr, true
}

func endpoint(addr netip.Addr, in *discoveryv1.Endpoint) model.Endpoint {
	out := model.Endpoint{
		Addr:        addr,
		Node:        deref(in.NodeName, ""),
		Zone:        deref(in.Zone, ""),
		Ready:       deref(in.Conditions.Ready, true),
		Serving:     deref(in.Conditions.Serving, true),
		Terminating: deref(in.Conditions.Terminating, false),
	}
	if in.TargetRef != nil && in.TargetRef.Kind == kindPod {
		out.Pod = in.TargetRef.Name
	}
	if in.Hints == nil {
		return out
	}
	for _, zone := range in.Hints.ForZones {
		out.ZoneHints = append(out.ZoneHints, zone.Name)
	}
	for _, node := range in.Hints.ForNodes {
		out.NodeHints = append(out.NodeHints, node.Name)
	}
	return out
}

// kindPod is the kind of the Pods that endpoints are.
const kindPod = "Pod"

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
