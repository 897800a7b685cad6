package reference

import (
	"net/netip"
	"testing"
)

func TestWeightsOfZeroDrain(t *testing.T) {
	e := endpoint{address: netip.MustParseAddrPort("10.244.1.21:8080"), podName: "web-0", nodeName: "node-a"}
	for weights, want := range map[string]bool{
		"": false, "10.244.1.21=0": true, "10.244.1.21=1": false, "10.244.1.22=0": false,
		"pod/web-0=0": true, "pod/web-1=0": false, "node/node-a=0": true, "node/=0": false,
		"node/node-a=0,pod/web-0=2": false, "pod/web-0=0 10.244.1.21=2": false,
		"10.244.1.21=0,10.244.1.21=1": true, "10.244.1.21=70000,10.244.1.21=0": true, "10.244.1.21": false,
	} {
		if got := drained(e, weights); got != want {
			t.Errorf("%q drains: %v, want %v", weights, got, want)
		}
	}
}
