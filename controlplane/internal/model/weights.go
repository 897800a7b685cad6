package model

import "net/netip"

// DefaultWeight is the weight of an endpoint that nobody gives another.
const DefaultWeight = 1

// Weights are the weights that a Service gives its endpoints. 0 drains one: it keeps the
// connections that it has and gets no new ones.
type Weights struct {
	Addresses   map[netip.Addr]uint16
	Pods, Nodes map[string]uint16
}

// Of returns the weight of an endpoint: what names it most closely counts.
func (w *Weights) Of(e *Endpoint) uint16 {
	if w == nil {
		return DefaultWeight
	}
	if weight, ok := w.Addresses[e.Addr]; ok {
		return weight
	}
	if weight, ok := w.Pods[e.Pod]; ok {
		return weight
	}
	if weight, ok := w.Nodes[e.Node]; ok {
		return weight
	}
	return DefaultWeight
}
