package conntrack

import "testing"

func TestThisKernelLetsUsDeleteConnections(t *testing.T) {
	if err := Probe(); err != nil {
		t.Error(err)
	}
}
