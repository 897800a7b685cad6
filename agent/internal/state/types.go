package state

import (
	"net/netip"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// Protocol is a transport protocol by its IANA number, as the kernel has it.
type Protocol uint8

// The transport protocols that a Service port can have.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns "TCP", "UDP" or "SCTP".
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

// Service is what the node knows of a Service.
type Service struct {
	// Name is "namespace/name".
	Name    string
	Version uint64
	// ClusterIPs has at most one address per family; the Service exists in these
	// families only.
	ClusterIPs      []netip.Addr
	ExternalIPs     []netip.Addr
	LoadBalancerIPs []netip.Addr
	Ports           []Port
	// InternalLocal and ExternalLocal are the traffic policies.
	InternalLocal, ExternalLocal bool
	// Affinity is the ClientIP timeout; zero means none.
	Affinity            time.Duration
	SourceRanges        []netip.Prefix
	HealthCheckNodePort uint16
	Scheduler           string
	// Created is in Unix seconds.
	Created int64
}

// Port is a port of a Service.
type Port struct {
	Name     string
	Protocol Protocol
	Port     uint16
	NodePort uint16
}

// EndpointSet is a part of a Service's endpoints that comes from one slice.
type EndpointSet struct {
	// Name is "namespace/slice-name".
	Name    string
	Version uint64
	Service string
	Groups  []Group
}

// LocalEndpoints are a Service's endpoints on this node.
type LocalEndpoints struct {
	// Name is that of the Service.
	Name    string
	Version uint64
	Local   []Group
	// Preferred replaces the EndpointSets, port by port.
	Preferred []Group
}

// Group is the product of ports and endpoints.
type Group struct {
	Ports     []EndpointPort
	Endpoints Endpoints
}

// EndpointPort is the port on which endpoints serve a Service port.
type EndpointPort struct {
	Name     string
	Protocol Protocol
	Port     uint16
}

// NodeConfig is the node's configuration.
type NodeConfig struct {
	Name    string
	Version uint64
	Mode    discoveryv1.ProxyMode
	Zone    string
	NodeIPs []netip.Addr
	// NodePortPrimary means that node ports answer on NodeIPs; otherwise they
	// answer on the local addresses in NodePortCIDRs.
	NodePortPrimary bool
	NodePortCIDRs   []netip.Prefix
	Detect          discoveryv1.DetectLocalMode
	DetectCIDRs     []netip.Prefix
	DetectInterface string
	MasqueradeAll   bool
	MasqueradeBit   uint32
	SyncPeriod      time.Duration
	MinSyncPeriod   time.Duration
	IPVS            *discoveryv1.Ipvs
	// IPVSExclude are the addresses whose virtual servers are not ours.
	IPVSExclude []netip.Prefix
	Conntrack   *discoveryv1.Conntrack
	// Ineligible says why load balancers should not send to this node.
	Ineligible string
	// LocalhostNodePorts is set if node ports answer on loopback addresses too.
	LocalhostNodePorts bool
}

// ClusterConfig is what the node knows of the cluster itself.
type ClusterConfig struct {
	Version      uint64
	ServiceCIDRs []netip.Prefix
}
