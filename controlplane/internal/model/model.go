package model

import (
	"net/netip"
	"strings"
	"time"
)

// Key names a namespaced object.
type Key struct {
	Namespace, Name string
}

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// ParseKey is the inverse of Key.String; a name without a slash is in the
// default namespace.
func ParseKey(s string) Key {
	namespace, name, found := strings.Cut(s, "/")
	if !found {
		return Key{Namespace: "default", Name: s}
	}
	return Key{Namespace: namespace, Name: name}
}

// Compare orders keys by namespace, then name.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// Protocol is a transport protocol.
type Protocol uint8

// The transport protocols that a Service port can have. The numbers are our own,
// equal to those of portolan.discovery.v1.Protocol.
const (
	TCP  Protocol = 1
	UDP  Protocol = 2
	SCTP Protocol = 3
)

// String returns the protocol's name as Kubernetes spells it.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	default:
		return "unknown"
	}
}

// TrafficPolicy says which endpoints a class of traffic may use.
type TrafficPolicy uint8

const (
	// Cluster allows every usable endpoint of the cluster.
	Cluster TrafficPolicy = 1
	// Local allows only endpoints on the node that handles the connection.
	Local TrafficPolicy = 2
)

// Service is a Service that is to be proxied. Headless Services, ExternalNames
// and Services of another proxy never become one.
type Service struct {
	Key
	// Created breaks ties between Services that claim the same frontend: the
	// older one has it.
	Created time.Time
	// ClusterIPs has at most one address per family. The Service exists in
	// exactly these families.
	ClusterIPs []netip.Addr
	// ExternalIPs and LoadBalancerIPs hold only families of ClusterIPs, without
	// repetition. LoadBalancerIPs are those with ipMode VIP.
	ExternalIPs     []netip.Addr
	LoadBalancerIPs []netip.Addr
	Ports           []Port
	Internal        TrafficPolicy
	// External is Cluster for a Service without any outside address.
	External TrafficPolicy
	// AffinityTimeout is zero without ClientIP affinity.
	AffinityTimeout time.Duration
	// SourceRanges filters LoadBalancerIPs. Nil means no filter.
	SourceRanges []netip.Prefix
	// HealthCheckNodePort is zero unless the Service is of type LoadBalancer
	// with external policy Local.
	HealthCheckNodePort uint16
	// Scheduler is the IPVS scheduler that the Service asks for, or empty.
	Scheduler string
	// Weights are nil if all endpoints have the same.
	Weights *Weights
}

// HasFamily tells whether the Service exists in the address family.
func (s *Service) HasFamily(is6 bool) bool {
	for _, a := range s.ClusterIPs {
		if a.Is6() == is6 {
			return true
		}
	}
	return false
}

// Port is a port of a Service.
type Port struct {
	Name     string
	Protocol Protocol
	Port     uint16
	// NodePort is zero if there is none.
	NodePort uint16
}

// Slice is an EndpointSlice that belongs to a Service, of address type IPv4 or
// IPv6.
type Slice struct {
	Key
	// Service is the name of the owning Service, in the same namespace.
	Service   string
	Is6       bool
	Ports     []SlicePort
	Endpoints []Endpoint
	// Triggered is when what made the endpoints change happened; zero if unknown.
	Triggered time.Time
}

// ServiceKey returns the key of the owning Service.
func (s *Slice) ServiceKey() Key { return Key{Namespace: s.Namespace, Name: s.Service} }

// SlicePort is a port of an EndpointSlice; it serves the Service port of the
// same name and protocol.
type SlicePort struct {
	Name     string
	Protocol Protocol
	Port     uint16
}

// Endpoint is one endpoint of an EndpointSlice. Conditions that are absent in
// the object are resolved: ready and serving to true, terminating to false.
type Endpoint struct {
	Addr netip.Addr
	// Node is empty if unknown; such an endpoint is local nowhere.
	Node string
	// Pod is the name of the Pod that it is, or empty.
	Pod         string
	Zone        string
	Ready       bool
	Serving     bool
	Terminating bool
	ZoneHints   []string
	NodeHints   []string
}

// Node is a Node of the cluster.
type Node struct {
	Name string
	// Zone is the label topology.kubernetes.io/zone, or empty.
	Zone string
	// IPs has the primary address of each family that the Node reports: its
	// first InternalIP, else its first ExternalIP.
	IPs      []netip.Addr
	PodCIDRs []netip.Prefix
	Labels   map[string]string
	// Ineligible says why load balancers should not send to the node; empty if
	// they may.
	Ineligible string
}

// ServiceCIDR is a ServiceCIDR object.
type ServiceCIDR struct {
	Name  string
	CIDRs []netip.Prefix
}

// Problem is an object, or a part of one, that cannot be put into force.
type Problem struct {
	// Object is "Service demo/web", "EndpointSlice demo/web-1", "file web.yaml".
	Object string
	// Field is a path such as "spec.ports[0].port".
	Field string
	Value string
	// Message says what was expected and what is done instead.
	Message string
	Reason  Reason
}

// Reason is what kind of problem it is, for counting.
type Reason uint8

// The kinds of problems.
const (
	// Invalid is a value that cannot be used.
	Invalid Reason = iota
	// Conflict is an address that belongs to another.
	Conflict
	// Exceeded is a budget that is exceeded.
	Exceeded
	// Held is a change that waits.
	Held
)

// Reasons are all kinds of problems.
var Reasons = []Reason{Invalid, Conflict, Exceeded, Held}

// String returns the reason as a metric's label has it.
func (r Reason) String() string { return [...]string{"invalid", "conflict", "budget", "held"}[r] }

// String returns the problem in one line for a person.
func (p Problem) String() string { return p.Object + ": " + p.Detail() }

// Detail returns the problem without the object.
func (p Problem) Detail() string {
	var b strings.Builder
	b.WriteString(p.Field)
	if p.Value != "" {
		if p.Field != "" {
			b.WriteString(" ")
		}
		b.WriteString("\"" + p.Value + "\"")
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	return b.String() + p.Message
}

// SourceVersion is a point in the history of a source's objects.
type SourceVersion struct {
	// Source identifies the source for as long as its versions increase.
	Source                                        string
	Services, EndpointSlices, Nodes, ServiceCIDRs uint64
}
