// Package statemetrics exports what kube-state-metrics says of Services, under its names,
// for clusters that have none: kube_service_info, kube_service_spec_type,
// kube_endpoint_address_available and kube_endpoint_address_not_ready. (The last two are
// those of its versions before 2.14, by the Service that an EndpointSlice is of.)
package statemetrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

var (
	infoDesc = prometheus.NewDesc("kube_service_info", "Information about service.",
		[]string{"namespace", "service", "uid", "cluster_ip", "external_name", "load_balancer_ip"}, nil)
	typeDesc = prometheus.NewDesc("kube_service_spec_type", "Type about service.",
		[]string{"namespace", "service", "uid", "type"}, nil)
	availableDesc = prometheus.NewDesc("kube_endpoint_address_available", "Number of addresses available in endpoint.",
		[]string{"namespace", "endpoint"}, nil)
	notReadyDesc = prometheus.NewDesc("kube_endpoint_address_not_ready", "Number of addresses not ready in endpoint.",
		[]string{"namespace", "endpoint"}, nil)
)

// service is what is told of a Service.
type service struct{ uid, clusterIP, externalName, loadBalancerIP, kind string }

// slice is what is told of an EndpointSlice.
type slice struct {
	service         model.Key
	ready, notReady int
}

// State is what is there. It is an admission.Observer and a prometheus.Collector, and safe
// for concurrent use.
type State struct {
	mu       sync.Mutex
	services map[model.Key]service
	slices   map[model.Key]slice
}

// New returns an empty state.
func New() *State {
	return &State{services: map[model.Key]service{}, slices: map[model.Key]slice{}}
}

// ServiceSet notes a Service, whatever its type.
func (s *State) ServiceSet(in *corev1.Service) {
	kind := in.Spec.Type
	if kind == "" {
		kind = corev1.ServiceTypeClusterIP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[model.Key{Namespace: in.Namespace, Name: in.Name}] = service{
		uid: string(in.UID), clusterIP: in.Spec.ClusterIP, externalName: in.Spec.ExternalName,
		loadBalancerIP: in.Spec.LoadBalancerIP, kind: string(kind),
	}
}

// ServiceDeleted forgets a Service.
func (s *State) ServiceDeleted(key model.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.services, key)
}

// SliceSet notes the endpoints of an EndpointSlice. One without a Service has none.
func (s *State) SliceSet(in *discoveryv1.EndpointSlice) {
	counted := slice{service: model.Key{Namespace: in.Namespace, Name: in.Labels[discoveryv1.LabelServiceName]}}
	for i := range in.Endpoints {
		// Unknown is ready (discovery/v1, EndpointConditions).
		if ready := in.Endpoints[i].Conditions.Ready; ready == nil || *ready {
			counted.ready++
		} else {
			counted.notReady++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slices[model.Key{Namespace: in.Namespace, Name: in.Name}] = counted
}

// SliceDeleted forgets an EndpointSlice.
func (s *State) SliceDeleted(key model.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.slices, key)
}

// Describe implements prometheus.Collector.
func (s *State) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{infoDesc, typeDesc, availableDesc, notReadyDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *State) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for key, v := range s.services {
		gauge(infoDesc, 1, key.Namespace, key.Name, v.uid, v.clusterIP, v.externalName, v.loadBalancerIP)
		gauge(typeDesc, 1, key.Namespace, key.Name, v.uid, v.kind)
	}
	sums := map[model.Key]slice{}
	for _, v := range s.slices {
		if v.service.Name != "" {
			sum := sums[v.service]
			sums[v.service] = slice{ready: sum.ready + v.ready, notReady: sum.notReady + v.notReady}
		}
	}
	for key, sum := range sums {
		gauge(availableDesc, sum.ready, key.Namespace, key.Name)
		gauge(notReadyDesc, sum.notReady, key.Namespace, key.Name)
	}
}
