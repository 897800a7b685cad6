package model

import (
	"net/netip"
	"testing"
)

func TestWhatNamesAnEndpointMostCloselyGivesItsWeight(t *testing.T) {
	addr := netip.MustParseAddr("10.244.1.5")
	weights := &Weights{Addresses: map[netip.Addr]uint16{addr: 2}, Pods: map[string]uint16{"web-0": 3}, Nodes: map[string]uint16{"node-a": 0}}
	for name, test := range map[string]struct {
		weights  *Weights
		endpoint Endpoint
		want     uint16
	}{
		"the address":      {weights, Endpoint{Addr: addr, Pod: "web-0", Node: "node-a"}, 2},
		"else the Pod":     {weights, Endpoint{Pod: "web-0", Node: "node-a"}, 3},
		"else the node":    {weights, Endpoint{Pod: "web-1", Node: "node-a"}, 0},
		"else the default": {weights, Endpoint{Pod: "web-1", Node: "node-b"}, 1},
		"no weights":       {nil, Endpoint{Addr: addr}, 1},
	} {
		if got := test.weights.Of(&test.endpoint); got != test.want {
			t.Errorf("%s: weight %d, want %d", name, got, test.want)
		}
	}
}
