package e2e_test

import "testing"

// TestPacketsFollowTheAPI is what Portolan is for, from a write to the API to where
// packets go, and what must not happen to them when parts of it die. Each step
// builds on the ones before.
func TestPacketsFollowTheAPI(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct {
		what string
		do   func(*testing.T)
	}{
		{"a created Service is served by all its endpoints", w.createService},
		{"an added endpoint is reached, a removed one is not", w.changeEndpoints},
		{"connections of a Service and their bytes are counted", w.countTraffic},
		{"a change is in force soon after its write", w.measureFlips},
		{"without endpoints connections are refused at once", w.withoutEndpoints},
		{"a node port is reached from outside and from pods", w.nodePort},
		{"a deleted Service's address is silent", w.deleteService},
		{"who waits for it knows when nodes have a change", w.waitForChanges},
		{"who asks all replicas is told of every node", w.askAll},
		{"a pod that waits until nobody sends to it loses no connection", w.leave},
		{"what is wrong is told as Events of the objects", w.events},
		{"killing the agent's control plane breaks nothing, and changes go on through the other", w.killControlPlane},
		{"killing the agent breaks nothing, and changes go on when it is back", w.killAgent},
		{"stopping the API server breaks nothing", w.stopAPIServer},
		{"killing everything breaks nothing", w.killEverything},
	} {
		if !t.Run(step.what, step.do) {
			t.FailNow()
		}
	}
}
