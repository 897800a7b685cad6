package objects_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

func TestWeights(t *testing.T) {
	byAddress := func(text string, weight uint16) *model.Weights {
		return &model.Weights{Addresses: map[netip.Addr]uint16{netip.MustParseAddr(text): weight}}
	}
	for name, test := range map[string]struct {
		value    string
		want     *model.Weights
		problems []string
	}{
		"none":                       {value: ""},
		"by address":                 {value: "10.244.1.5=3", want: byAddress("10.244.1.5", 3)},
		"in any form of the address": {value: "2001:DB8:0::1=65535", want: byAddress("2001:db8::1", 65535)},
		"all sorts, on lines": {
			value: "10.244.1.5=3,\n pod/web-0=7\nnode/node-a=0,",
			want: &model.Weights{
				Addresses: map[netip.Addr]uint16{netip.MustParseAddr("10.244.1.5"): 3},
				Pods:      map[string]uint16{"web-0": 7}, Nodes: map[string]uint16{"node-a": 0},
			},
		},
		"a bad entry leaves the rest in force": {
			value: "web-0=3,10.244.1.5=3", want: byAddress("10.244.1.5", 3),
			problems: []string{`"web-0=3": expected an IP address, pod/NAME or node/NAME; the entry is ignored`},
		},
		"no weight":       {value: "10.244.1.5", problems: []string{`"10.244.1.5": expected WHO=WEIGHT, such as 10.244.1.5=3`}},
		"too much":        {value: "10.244.1.5=65536", problems: []string{`"10.244.1.5=65536": expected a weight from 0 to 65535`}},
		"less than none":  {value: "10.244.1.5=-1", problems: []string{"expected a weight from 0 to 65535"}},
		"no name":         {value: "pod/=1", problems: []string{"expected a name"}},
		"twice":           {value: "10.244.1.5=3,10.244.1.5=4", want: byAddress("10.244.1.5", 3), problems: []string{"expected each once, of which the first counts"}},
		"a long bad text": {value: strings.Repeat("x", 4096), problems: []string{"…"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems, err := objects.Service(service(func(s *corev1.Service) { s.Annotations = map[string]string{objects.AnnotationWeights: test.value} }))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Weights, compareAddrs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if len(problems) != len(test.problems) {
				t.Fatalf("problems %v", problems)
			}
			for i, want := range test.problems {
				if got := problems[i].String(); !strings.Contains(got, "Service demo/web: metadata.annotations[portolan.net/weights]") || !strings.Contains(got, want) {
					t.Errorf("problem %s, want %s", got, want)
				}
			}
		})
	}
}

func TestASchedulerThatThereIsNotIsNamedWithThoseThatThereAre(t *testing.T) {
	_, problems, err := objects.Service(service(func(s *corev1.Service) { s.Annotations = map[string]string{objects.AnnotationScheduler: "wlcc"} }))
	const want = `Service demo/web: metadata.annotations[portolan.net/scheduler] "wlcc": expected an IPVS scheduler, one of rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh; did you mean "wlc", "lc"?; the node's default is used`
	if err != nil || len(problems) != 1 || problems[0].String() != want {
		t.Errorf("problems %v, error %v\nwant %s", problems, err, want)
	}
}

func TestAnEndpointKnowsItsPod(t *testing.T) {
	for kind, want := range map[string]string{"Pod": "web-0", "Node": ""} {
		got, _, err := objects.Slice(slice(endpoint(func(e *discoveryv1.Endpoint) { e.TargetRef = &corev1.ObjectReference{Kind: kind, Name: "web-0"} })))
		if err != nil || got.Endpoints[0].Pod != want {
			t.Errorf("a %s: %+v, error %v", kind, got, err)
		}
	}
}
