package objects_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// slice returns a plain IPv4 slice of demo/web with one endpoint, after edits.
func slice(edits ...func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: "web-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr("http"), Protocol: ptr(corev1.ProtocolTCP), Port: ptr(int32(8080))}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
	}
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func plainSlice() *model.Slice {
	return &model.Slice{
		Key:       model.Key{Namespace: "demo", Name: "web-1"},
		Service:   "web",
		Ports:     []model.SlicePort{{Name: "http", Protocol: model.TCP, Port: 8080}},
		Endpoints: []model.Endpoint{{Addr: addrs("10.0.0.1")[0], Ready: true, Serving: true}},
	}
}

func endpoint(edit func(*discoveryv1.Endpoint)) func(*discoveryv1.EndpointSlice) {
	return func(s *discoveryv1.EndpointSlice) { edit(&s.Endpoints[0]) }
}

func at(addresses ...string) func(*discoveryv1.EndpointSlice) {
	return func(s *discoveryv1.EndpointSlice) {
		s.Endpoints = nil
		for _, a := range addresses {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
		}
	}
}

func triggered(at string) func(*discoveryv1.EndpointSlice) {
	return func(s *discoveryv1.EndpointSlice) {
		s.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: at}
	}
}

func TestSliceInForce(t *testing.T) {
	for _, tc := range []struct {
		name     string
		edit     func(*discoveryv1.EndpointSlice)
		want     func(*model.Slice)
		problems []string
	}{
		{name: "a plain slice; absent conditions", edit: func(*discoveryv1.EndpointSlice) {}, want: func(*model.Slice) {}},
		{
			name: "serving absent is not copied from ready",
			edit: endpoint(func(e *discoveryv1.Endpoint) { e.Conditions.Ready = ptr(false) }),
			want: func(s *model.Slice) { s.Endpoints[0].Ready = false },
		},
		{
			name: "conditions as given",
			edit: endpoint(func(e *discoveryv1.Endpoint) {
				e.Conditions = discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(false), Terminating: ptr(true)}
			}),
			want: func(s *model.Slice) {
				s.Endpoints[0].Ready, s.Endpoints[0].Serving, s.Endpoints[0].Terminating = false, false, true
			},
		},
		{
			name: "node, zone and hints",
			edit: endpoint(func(e *discoveryv1.Endpoint) {
				e.NodeName, e.Zone = ptr("n1"), ptr("z1")
				e.Hints = &discoveryv1.EndpointHints{
					ForZones: []discoveryv1.ForZone{{Name: "z1"}, {Name: "z2"}}, ForNodes: []discoveryv1.ForNode{{Name: "n1"}},
				}
			}),
			want: func(s *model.Slice) {
				e := &s.Endpoints[0]
				e.Node, e.Zone, e.ZoneHints, e.NodeHints = "n1", "z1", []string{"z1", "z2"}, []string{"n1"}
			},
		},
		{
			name: "IPv6",
			edit: func(s *discoveryv1.EndpointSlice) {
				at("2001:db8:0::1")(s)
				s.AddressType = discoveryv1.AddressTypeIPv6
			},
			want: func(s *model.Slice) { s.Is6, s.Endpoints[0].Addr = true, addrs("2001:db8::1")[0] },
		},
		{
			name: "ports without name or number are ignored, an empty name is a name",
			edit: func(s *discoveryv1.EndpointSlice) {
				s.Ports = []discoveryv1.EndpointPort{{Port: ptr(int32(1))}, {Name: ptr("a")}, {Name: ptr("b"), Port: ptr(int32(0))}, {Name: ptr(""), Port: ptr(int32(2))}}
			},
			want: func(s *model.Slice) { s.Ports = []model.SlicePort{{Protocol: model.TCP, Port: 2}} },
		},
		{
			name: "only the first address counts, none is skipped",
			edit: func(s *discoveryv1.EndpointSlice) {
				s.Endpoints = []discoveryv1.Endpoint{{}, {Addresses: []string{"010.0.0.01", "10.0.0.9"}}}
			},
			want: func(*model.Slice) {},
		},
		{
			name: "forbidden, malformed and foreign addresses are skipped by name",
			edit: at("127.0.0.1", "10.0.0.1", "100.100.100.200", "nonsense", "2001:db8::1", "255.255.255.255"),
			want: func(*model.Slice) {}, problems: []string{
				"endpoints[0].addresses[0]", "endpoints[2].addresses[0]", "endpoints[3].addresses[0]", "endpoints[4].addresses[0]", "endpoints[5].addresses[0]",
			},
		},
		{
			name: "when the change happened, whatever the time zone",
			edit: triggered("2026-03-01T13:00:00.25+01:00"),
			want: func(s *model.Slice) { s.Triggered = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC) },
		},
		{
			name: "a garbled time is skipped by name",
			edit: triggered("yesterday"),
			want: func(*model.Slice) {}, problems: []string{"metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]"},
		},
		{
			name: "a slice may be empty",
			edit: func(s *discoveryv1.EndpointSlice) { s.Endpoints, s.Ports = nil, nil },
			want: func(s *model.Slice) { s.Endpoints, s.Ports = nil, nil },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := plainSlice()
			tc.want(want)
			got, problems, err := objects.Slice(slice(tc.edit))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			checkProblems(t, problems, "EndpointSlice demo/web-1", tc.problems)
		})
	}
}

func TestSliceNotUsed(t *testing.T) {
	for name, edit := range map[string]func(*discoveryv1.EndpointSlice){
		"no label":          func(s *discoveryv1.EndpointSlice) { s.Labels = nil },
		"empty label":       func(s *discoveryv1.EndpointSlice) { s.Labels[discoveryv1.LabelServiceName] = "" },
		"FQDN":              func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeFQDN },
		"of a headless one": func(s *discoveryv1.EndpointSlice) { s.Labels[objects.LabelHeadless] = "" },
	} {
		t.Run(name, func(t *testing.T) {
			if got, problems, err := objects.Slice(slice(edit)); got != nil || problems != nil || err != nil {
				t.Errorf("got %v, %v, %v, want nothing", got, problems, err)
			}
		})
	}
}

func TestSliceRefused(t *testing.T) {
	for field, edit := range map[string]func(*discoveryv1.EndpointSlice){
		"addressType":       func(s *discoveryv1.EndpointSlice) { s.AddressType = "IPv5" },
		"ports[0].port":     func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = ptr(int32(65536)) },
		"ports[0].protocol": func(s *discoveryv1.EndpointSlice) { s.Ports[0].Protocol = ptr(corev1.Protocol("ICMP")) },
	} {
		t.Run(field, func(t *testing.T) {
			got, _, err := objects.Slice(slice(edit))
			var refused *objects.Error
			if got != nil || !errors.As(err, &refused) || refused.Problems[0].Field != field {
				t.Errorf("got %v, %v, want an *Error at %s", got, err, field)
			}
		})
	}
}

func TestSliceProblemsAreBounded(t *testing.T) {
	_, problems, err := objects.Slice(slice(at(slices.Repeat([]string{"127.0.0.1"}, 1000)...)))
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 11 || !strings.Contains(problems[10].Message, "990 more") {
		t.Errorf("%d problems, the last %q, want 10 and how many more", len(problems), problems[len(problems)-1].Message)
	}
}

// TestEqualTimesAreEqual also where they are compared with reflect.DeepEqual.
func TestEqualTimesAreEqual(t *testing.T) {
	winter, _, _ := objects.Slice(slice(triggered("2026-03-01T13:00:00+01:00")))
	utc, _, _ := objects.Slice(slice(triggered("2026-03-01T12:00:00Z")))
	if !reflect.DeepEqual(winter, utc) {
		t.Errorf("%#v and %#v differ", winter.Triggered, utc.Triggered)
	}
}

func TestForbiddenEndpointsAreNeverInForce(t *testing.T) {
	for i, a := range []string{"127.0.0.1", "127.8.8.8", "169.254.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "0.0.0.1", "240.0.0.1", "255.255.255.255", "100.100.100.200", "::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"} {
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			t.Run(fmt.Sprint(i, family, a), func(t *testing.T) {
				got, problems, err := objects.Slice(slice(at(a), func(s *discoveryv1.EndpointSlice) { s.AddressType = family }))
				if err != nil || len(got.Endpoints) != 0 || len(problems) != 1 || problems[0].Value != a {
					t.Errorf("%s: %v, %v, %v", a, got.Endpoints, problems, err)
				}
			})
		}
	}
}
