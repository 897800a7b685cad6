package resource

import (
	"cmp"
	"strings"
)

// FrontendKind is why a Service answers on an address.
type FrontendKind uint8

// The kinds of frontends, in order of precedence where an address and port is
// claimed by several: an exact address wins over a node port, as in kube-proxy.
const (
	ClusterIP FrontendKind = iota + 1
	LoadBalancerIP
	ExternalIP
	NodePort
)

// String returns the kind's name as people write it.
func (k FrontendKind) String() string {
	switch k {
	case ClusterIP:
		return "ClusterIP"
	case LoadBalancerIP:
		return "LoadBalancerIP"
	case ExternalIP:
		return "ExternalIP"
	case NodePort:
		return "NodePort"
	default:
		return "unknown"
	}
}

// Claim is a Service's claim to a frontend.
type Claim struct {
	Kind FrontendKind
	// Created is the Service's creation time in Unix seconds.
	Created int64
	// Service is the Service's resource name.
	Service string
}

// Compare orders claims: the smallest owns the frontend. The order depends on
// nothing but the Services themselves, so that all nodes and replicas agree.
func (c Claim) Compare(o Claim) int {
	return cmp.Or(
		cmp.Compare(c.Kind, o.Kind),
		cmp.Compare(c.Created, o.Created),
		strings.Compare(c.Service, o.Service),
	)
}
