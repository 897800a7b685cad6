package compile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func weighted(weights model.Weights) *model.Service {
	return web(func(s *model.Service) { s.Weights = &weights })
}

func sentTo(t *testing.T, service *model.Service, endpoints ...model.Endpoint) (set, local []*discoveryv1.Endpoint) {
	t.Helper()
	for _, r := range Service(service, []*model.Slice{slice("web-1", endpoints...)}) {
		for _, group := range r.Resource.GetEndpointSet().GetGroups() {
			set = append(set, group.GetEndpoints()...)
		}
		for _, group := range r.Resource.GetLocalEndpoints().GetLocal() {
			local = append(local, group.GetEndpoints()...)
		}
	}
	return set, local
}

const draining = discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING

func TestWeightsReachTheResources(t *testing.T) {
	service := weighted(model.Weights{Nodes: map[string]uint16{"a": 3, "b": 1, "c": 0}})
	set, local := sentTo(t, service, ready("10.0.0.1", "a"), ready("10.0.0.2", "b"), ready("10.0.0.3", "c"), ready("10.0.0.4", "d"))
	want := []*discoveryv1.Endpoint{{Address: "10.0.0.1", Weight: 3}, {Address: "10.0.0.2"}, {Address: "10.0.0.3", State: draining}, {Address: "10.0.0.4"}}
	if diff := cmp.Diff(want, set, protocmp.Transform()); diff != "" {
		t.Errorf("EndpointSet (-want +got)\n%s", diff)
	}
	wantLocal := []*discoveryv1.Endpoint{{Address: "10.0.0.1", Weight: 3}, {Address: "10.0.0.2"}, {Address: "10.0.0.4"}}
	if diff := cmp.Diff(wantLocal, local, protocmp.Transform()); diff != "" {
		t.Errorf("LocalEndpoints (-want +got)\n%s", diff)
	}
}

// TestADrainedEndpointIsAsOneThatIsNotReady: topology does not count on it, and it is no
// resort when nothing else is ready.
func TestADrainedEndpointIsAsOneThatIsNotReady(t *testing.T) {
	service := weighted(model.Weights{Pods: map[string]uint16{"drained": 0}})
	drained := ready("10.0.0.1", "a")
	drained.Pod = "drained"
	going := drained
	going.Ready, going.Terminating = false, true
	gone := going
	gone.Serving = false
	terminating := ready("10.0.0.2", "b")
	terminating.Ready, terminating.Terminating = false, true
	for name, test := range map[string]struct {
		endpoints []model.Endpoint
		want      []*discoveryv1.Endpoint
	}{
		"no hint of its own is needed": {[]model.Endpoint{drained, ready("10.0.0.2", "b", "z"), ready("10.0.0.3", "b", "z")},
			[]*discoveryv1.Endpoint{{Address: "10.0.0.1", State: draining}, {Address: "10.0.0.2"}, {Address: "10.0.0.3"}}},
		"what terminates is better": {[]model.Endpoint{drained, terminating},
			[]*discoveryv1.Endpoint{{Address: "10.0.0.1", State: draining}, {Address: "10.0.0.2", State: discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING}}},
		"nothing else is there":      {[]model.Endpoint{drained}, []*discoveryv1.Endpoint{{Address: "10.0.0.1", State: draining}}},
		"it terminates":              {[]model.Endpoint{going}, []*discoveryv1.Endpoint{{Address: "10.0.0.1", State: draining}}},
		"it does not serve any more": {[]model.Endpoint{gone}, nil},
	} {
		set, _ := sentTo(t, service, test.endpoints...)
		if diff := cmp.Diff(test.want, set, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestWeightsAreExplained(t *testing.T) {
	service := weighted(model.Weights{Nodes: map[string]uint16{"a": 3, "c": 0}})
	decisions, candidates := Explain(service, []*model.Slice{slice("web-1", ready("10.0.0.1", "a"), ready("10.0.0.2", "b"), ready("10.0.0.3", "c"))}, "a", "")
	var reasons []string
	for _, c := range candidates {
		reasons = append(reasons, c.GetReason())
	}
	if diff := cmp.Diff([]string{"ready, weight 3", "ready", "weight 0: keeps its connections, gets no new ones"}, reasons); diff != "" {
		t.Error(diff, decisions)
	}
	decisions, _ = Explain(service, []*model.Slice{slice("web-1", ready("10.0.0.3", "c"))}, "a", "")
	if text := strings.Join(decisions, "\n"); !strings.Contains(text, "none is ready with a weight above 0") {
		t.Error(text)
	}
}
