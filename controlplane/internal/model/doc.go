// Package model holds the control plane's view of a cluster as immutable values:
// Services, EndpointSlices, Nodes and ServiceCIDRs, reduced to what load
// balancing needs, with addresses parsed and defaults resolved.
//
// A value is never changed after it was handed over; an update is a new value.
// The package imports nothing of ours and nothing of Kubernetes, so that every
// source (API server, manifests, another control plane) can feed it.
package model
