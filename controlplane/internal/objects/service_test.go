package objects_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

var key = model.Key{Namespace: "demo", Name: "web"}

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func ptr[T any](v T) *T { return &v }

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// service returns a plain dual-stack Service after edits.
func service(edits ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec: corev1.ServiceSpec{
			Type:       corev1.ServiceTypeClusterIP,
			ClusterIP:  "10.96.0.1",
			ClusterIPs: []string{"10.96.0.1", "2001:db8:96::1"},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
			Ports:      []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func plain() *model.Service {
	return &model.Service{
		Key:        key,
		ClusterIPs: addrs("10.96.0.1", "2001:db8:96::1"),
		Ports:      []model.Port{{Name: "http", Protocol: model.TCP, Port: 80}},
		Internal:   model.Cluster,
		External:   model.Cluster,
	}
}

func singleStack(s *corev1.Service) {
	s.Spec.ClusterIPs, s.Spec.IPFamilies = []string{"10.96.0.1"}, []corev1.IPFamily{corev1.IPv4Protocol}
}

func ofType(t corev1.ServiceType) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Type = t }
}

func ingress(list ...corev1.LoadBalancerIngress) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Status.LoadBalancer.Ingress = list
	}
}

func local(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func affinity(seconds *int32) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: seconds}}
	}
}

func TestServiceInForce(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("CET", 3600))
	for _, tc := range []struct {
		name string
		edit func(*corev1.Service)
		want func(*model.Service)
		// problems are the fields that are reported and skipped.
		problems []string
	}{
		{name: "a plain Service", edit: func(*corev1.Service) {}, want: func(*model.Service) {}},
		{
			name: "creation time is in UTC so that equal objects are equal",
			edit: func(s *corev1.Service) { s.CreationTimestamp = metav1.NewTime(created) },
			want: func(s *model.Service) { s.Created = created.UTC() },
		},
		{
			name: "no ipFamilies falls back to clusterIP by its own family",
			edit: func(s *corev1.Service) { s.Spec.IPFamilies, s.Spec.ClusterIP = nil, "2001:db8:96::1" },
			want: func(s *model.Service) { s.ClusterIPs = addrs("2001:db8:96::1") },
		},
		{
			name: "the order of clusterIPs is kept",
			edit: func(s *corev1.Service) {
				slices.Reverse(s.Spec.ClusterIPs)
				slices.Reverse(s.Spec.IPFamilies)
			},
			want: func(s *model.Service) { s.ClusterIPs = addrs("2001:db8:96::1", "10.96.0.1") },
		},
		{
			name: "a family without a clusterIP does not exist",
			edit: func(s *corev1.Service) { s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1] },
			want: func(s *model.Service) { s.ClusterIPs = addrs("10.96.0.1") },
		},
		{
			name: "a clusterIP without a family does not exist",
			edit: func(s *corev1.Service) { s.Spec.IPFamilies = s.Spec.IPFamilies[:1] },
			want: func(s *model.Service) { s.ClusterIPs = addrs("10.96.0.1") },
		},
		{
			name: "leading zeros of a clusterIP are decimal",
			edit: func(s *corev1.Service) { s.Spec.ClusterIPs[0] = "010.096.000.001" },
			want: func(*model.Service) {},
		},
		{
			name: "an absent protocol is TCP",
			edit: func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "" },
			want: func(*model.Service) {},
		},
		{
			name: "one number for three protocols",
			edit: func(s *corev1.Service) {
				s.Spec.Ports = []corev1.ServicePort{{Name: "t", Port: 53}, {Name: "u", Protocol: "UDP", Port: 53}, {Name: "s", Protocol: "SCTP", Port: 53}}
			},
			want: func(s *model.Service) {
				s.Ports = []model.Port{{Name: "t", Protocol: model.TCP, Port: 53}, {Name: "u", Protocol: model.UDP, Port: 53}, {Name: "s", Protocol: model.SCTP, Port: 53}}
			},
		},
		{
			name: "a node port of type NodePort",
			edit: func(s *corev1.Service) { ofType(corev1.ServiceTypeNodePort)(s); s.Spec.Ports[0].NodePort = 30080 },
			want: func(s *model.Service) { s.Ports[0].NodePort = 30080 },
		},
		{
			name: "a node port of type LoadBalancer",
			edit: func(s *corev1.Service) { ofType(corev1.ServiceTypeLoadBalancer)(s); s.Spec.Ports[0].NodePort = 30080 },
			want: func(s *model.Service) { s.Ports[0].NodePort = 30080 },
		},
		{
			name: "a LoadBalancer without node port",
			edit: ofType(corev1.ServiceTypeLoadBalancer),
			want: func(*model.Service) {},
		},
		{
			name: "a node port left over on type ClusterIP is not read",
			edit: func(s *corev1.Service) { s.Spec.Ports[0].NodePort = 30080 },
			want: func(*model.Service) {},
		},
		{
			name: "ingress IPs with ipMode absent or VIP are captured",
			edit: ingress(corev1.LoadBalancerIngress{IP: "192.0.2.1"}, corev1.LoadBalancerIngress{IP: "2001:db8::1", IPMode: ptr(corev1.LoadBalancerIPModeVIP)}),
			want: func(s *model.Service) { s.LoadBalancerIPs = addrs("192.0.2.1", "2001:db8::1") },
		},
		{
			name: "ipMode Proxy is not captured",
			edit: ingress(corev1.LoadBalancerIngress{IP: "192.0.2.1", IPMode: ptr(corev1.LoadBalancerIPModeProxy)}),
			want: func(*model.Service) {},
		},
		{
			name: "a host name or loadBalancerIP alone captures nothing",
			edit: func(s *corev1.Service) {
				ingress(corev1.LoadBalancerIngress{Hostname: "lb.example.com"})(s)
				s.Spec.LoadBalancerIP = "192.0.2.1"
			},
			want: func(*model.Service) {},
		},
		{
			name: "ingress IPs of a family that the Service lacks are ignored",
			edit: func(s *corev1.Service) {
				singleStack(s)
				ingress(corev1.LoadBalancerIngress{IP: "2001:db8::1"}, corev1.LoadBalancerIngress{IP: "192.0.2.1"})(s)
			},
			want: func(s *model.Service) { s.ClusterIPs, s.LoadBalancerIPs = addrs("10.96.0.1"), addrs("192.0.2.1") },
		},
		{
			name: "ingress IPs that are wrong are skipped by name",
			edit: ingress(corev1.LoadBalancerIngress{IP: "x"}, corev1.LoadBalancerIngress{IP: "169.254.169.254"},
				corev1.LoadBalancerIngress{IP: "192.0.2.1"}, corev1.LoadBalancerIngress{IP: "192.0.2.2", IPMode: ptr(corev1.LoadBalancerIPMode("Maybe"))}),
			want:     func(s *model.Service) { s.LoadBalancerIPs = addrs("192.0.2.1") },
			problems: []string{"status.loadBalancer.ingress[0].ip", "status.loadBalancer.ingress[1].ip", "status.loadBalancer.ingress[3].ipMode"},
		},
		{
			name: "external IPs of any type, in order and once",
			edit: func(s *corev1.Service) {
				s.Spec.ExternalIPs = []string{"192.0.2.9", "2001:db8::9", "192.0.2.1", " 192.000.2.9 "}
			},
			want: func(s *model.Service) { s.ExternalIPs = addrs("192.0.2.9", "2001:db8::9", "192.0.2.1") },
		},
		{
			name: "external IPs that do not parse are skipped, zeros are decimal",
			edit: func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"", "nonsense", "198.051.100.020"} },
			want: func(s *model.Service) { s.ExternalIPs = addrs("198.51.100.20") }, problems: []string{"spec.externalIPs[0]", "spec.externalIPs[1]"},
		},
		{
			name: "external IPs of a family that the Service lacks are ignored",
			edit: func(s *corev1.Service) {
				singleStack(s)
				s.Spec.ExternalIPs = []string{"2001:db8::9", "192.0.2.9"}
			},
			want: func(s *model.Service) { s.ClusterIPs, s.ExternalIPs = addrs("10.96.0.1"), addrs("192.0.2.9") },
		},
		{
			name: "forbidden external IPs are skipped by name",
			edit: func(s *corev1.Service) {
				s.Spec.ExternalIPs = []string{"127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"}
			},
			want:     func(s *model.Service) { s.ExternalIPs = addrs("192.0.2.1") },
			problems: []string{"spec.externalIPs[0]", "spec.externalIPs[1]", "spec.externalIPs[2]", "spec.externalIPs[3]", "spec.externalIPs[4]"},
		},
		{
			name: "source ranges are trimmed and masked, empty ones skipped",
			edit: func(s *corev1.Service) {
				s.Spec.LoadBalancerSourceRanges = []string{" 10.1.2.3/8 ", "", "  ", "2001:db8::/32", "10.0.0.0/8"}
			},
			want: func(s *model.Service) { s.SourceRanges = prefixes("10.0.0.0/8", "2001:db8::/32") },
		},
		{
			name: "a range of length zero opens its family alone",
			edit: func(s *corev1.Service) {
				s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32"}
			},
			want: func(s *model.Service) { s.SourceRanges = prefixes("2001:db8::/32") },
		},
		{
			name: "ranges of length zero alone are no filter",
			edit: func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"0.0.0.0/0", "::/0"} },
			want: func(*model.Service) {},
		},
		{
			name: "the annotation for source ranges is not read",
			edit: func(s *corev1.Service) {
				s.Annotations = map[string]string{"service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8"}
			},
			want: func(*model.Service) {},
		},
		{
			name: "ClientIP affinity lasts 3 h unless said otherwise",
			edit: func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP },
			want: func(s *model.Service) { s.AffinityTimeout = 10800 * time.Second },
		},
		{name: "an absent timeout", edit: affinity(nil), want: func(s *model.Service) { s.AffinityTimeout = 3 * time.Hour }},
		{name: "the shortest timeout", edit: affinity(ptr(int32(1))), want: func(s *model.Service) { s.AffinityTimeout = time.Second }},
		{name: "the longest timeout", edit: affinity(ptr(int32(86400))), want: func(s *model.Service) { s.AffinityTimeout = 24 * time.Hour }},
		{
			name: "affinity None ignores a timeout that is left over",
			edit: func(s *corev1.Service) {
				affinity(ptr(int32(0)))(s)
				s.Spec.SessionAffinity = corev1.ServiceAffinityNone
			},
			want: func(*model.Service) {},
		},
		{
			name: "internal policy Local",
			edit: func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = ptr(corev1.ServiceInternalTrafficPolicyLocal) },
			want: func(s *model.Service) { s.Internal = model.Local },
		},
		{
			name: "external policy Local of type NodePort",
			edit: func(s *corev1.Service) { ofType(corev1.ServiceTypeNodePort)(s); local(s) },
			want: func(s *model.Service) { s.External = model.Local },
		},
		{
			name: "external policy Local of a ClusterIP with external IPs",
			edit: func(s *corev1.Service) { local(s); s.Spec.ExternalIPs = []string{"192.0.2.9"} },
			want: func(s *model.Service) { s.External, s.ExternalIPs = model.Local, addrs("192.0.2.9") },
		},
		{
			name: "external policy Local of a Service without outside address is ignored",
			edit: local,
			want: func(*model.Service) {},
		},
		{
			name: "health check node port of LoadBalancer and Local",
			edit: func(s *corev1.Service) {
				ofType(corev1.ServiceTypeLoadBalancer)(s)
				local(s)
				s.Spec.HealthCheckNodePort = 31000
			},
			want: func(s *model.Service) { s.External, s.HealthCheckNodePort = model.Local, 31000 },
		},
		{
			name: "health check node port without policy Local is not opened",
			edit: func(s *corev1.Service) {
				ofType(corev1.ServiceTypeLoadBalancer)(s)
				s.Spec.HealthCheckNodePort = 31000
			},
			want: func(*model.Service) {},
		},
		{
			name: "type NodePort opens no health check",
			edit: func(s *corev1.Service) {
				ofType(corev1.ServiceTypeNodePort)(s)
				local(s)
				s.Spec.HealthCheckNodePort = 31000
			},
			want: func(s *model.Service) { s.External = model.Local },
		},
		{
			name: "a scheduler is asked for by annotation",
			edit: func(s *corev1.Service) { s.Annotations = map[string]string{objects.AnnotationScheduler: " mh\n"} },
			want: func(s *model.Service) { s.Scheduler = "mh" },
		},
		{
			name: "a scheduler that the kernel has not is not used",
			edit: func(s *corev1.Service) {
				s.Annotations = map[string]string{objects.AnnotationScheduler: "wlcc"}
			},
			want:     func(*model.Service) {},
			problems: []string{"metadata.annotations[portolan.net/scheduler]"},
		},
		{
			name: "a scheduler that cannot be one is ignored",
			edit: func(s *corev1.Service) {
				s.Annotations = map[string]string{objects.AnnotationScheduler: strings.Repeat("x", 4096)}
			},
			want:     func(*model.Service) {},
			problems: []string{"metadata.annotations[portolan.net/scheduler]"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := plain()
			tc.want(want)
			got, problems, err := objects.Service(service(tc.edit))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			checkProblems(t, problems, "Service demo/web", tc.problems)
		})
	}
}

// checkProblems compares the fields, and that every problem can be acted upon.
func checkProblems(t *testing.T, problems []model.Problem, object string, fields []string) {
	t.Helper()
	var got []string
	for _, p := range problems {
		got = append(got, p.Field)
		if p.Object != object || p.Message == "" || len(p.Value) > 80 {
			t.Errorf("problem %+v does not name %s and say what is wrong in few words", p, object)
		}
	}
	if !slices.Equal(got, fields) {
		t.Errorf("problems at %q, want %q: %v", got, fields, problems)
	}
}

func TestServiceNotProxied(t *testing.T) {
	for name, edit := range map[string]func(*corev1.Service){
		"headless":         func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "None", []string{"None"} },
		"no clusterIP yet": func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil },
		"ExternalName":     ofType(corev1.ServiceTypeExternalName),
		"another proxy's":  func(s *corev1.Service) { s.Labels = map[string]string{objects.LabelProxyName: ""} },
		"from before dual-stack, no clusterIP yet": func(s *corev1.Service) {
			s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies = "", nil, nil
		},
		"in no family":             func(s *corev1.Service) { s.Spec.ClusterIPs = nil },
		"headless, else malformed": func(s *corev1.Service) { s.Spec.ClusterIP = "None"; s.Spec.Ports[0].Port = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			if got, problems, err := objects.Service(service(edit)); got != nil || problems != nil || err != nil {
				t.Errorf("got %v, %v, %v, want nothing", got, problems, err)
			}
		})
	}
}

func TestServiceRefused(t *testing.T) {
	for _, tc := range []struct {
		name, field, value string
		edit               func(*corev1.Service)
	}{
		{"a clusterIP that does not parse", "spec.clusterIPs[1]", "zz", func(s *corev1.Service) { s.Spec.ClusterIPs[1] = "zz" }},
		{"the only clusterIP does not parse", "spec.clusterIP", "zz", func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.IPFamilies = "zz", nil }},
		{"a clusterIP that must not be captured", "spec.clusterIPs[0]", "127.0.0.1", func(s *corev1.Service) { s.Spec.ClusterIPs[0] = "127.0.0.1" }},
		{"a clusterIP of the wrong family", "spec.clusterIPs[1]", "10.96.0.2", func(s *corev1.Service) { s.Spec.ClusterIPs[1] = "10.96.0.2" }},
		{"clusterIPs in another order than ipFamilies", "spec.clusterIPs[0]", "2001:db8:96::1", func(s *corev1.Service) {
			slices.Reverse(s.Spec.ClusterIPs)
		}},
		{"two clusterIPs of a family", "spec.clusterIPs[1]", "10.96.0.2", func(s *corev1.Service) {
			s.Spec.ClusterIPs[1], s.Spec.IPFamilies[1] = "10.96.0.2", corev1.IPv4Protocol
		}},
		{"port 0", "spec.ports[0].port", "0", func(s *corev1.Service) { s.Spec.Ports[0].Port = 0 }},
		{"port 65536", "spec.ports[0].port", "65536", func(s *corev1.Service) { s.Spec.Ports[0].Port = 65536 }},
		{"a negative port", "spec.ports[0].port", "-1", func(s *corev1.Service) { s.Spec.Ports[0].Port = -1 }},
		{"node port 65536", "spec.ports[0].nodePort", "65536", func(s *corev1.Service) {
			ofType(corev1.ServiceTypeNodePort)(s)
			s.Spec.Ports[0].NodePort = 65536
		}},
		{"an unknown protocol", "spec.ports[0].protocol", "tcp", func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "tcp" }},
		{"a port twice", "spec.ports[1].port", "80", func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "again", Port: 80})
		}},
		{"a port name twice", "spec.ports[1].name", "http", func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "http", Port: 81})
		}},
		{"a source range that does not parse fails closed", "spec.loadBalancerSourceRanges[1]", "10.0.0.0/64", func(s *corev1.Service) {
			s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "10.0.0.0/64"}
		}},
		{"affinity of no time", "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "0", affinity(ptr(int32(0)))},
		{"affinity beyond a day", "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "86401", affinity(ptr(int32(86401)))},
		{"an unknown affinity", "spec.sessionAffinity", "Cookie", func(s *corev1.Service) { s.Spec.SessionAffinity = "Cookie" }},
		{"an unknown internal policy", "spec.internalTrafficPolicy", "Here", func(s *corev1.Service) {
			s.Spec.InternalTrafficPolicy = ptr(corev1.ServiceInternalTrafficPolicy("Here"))
		}},
		{"an unknown external policy", "spec.externalTrafficPolicy", "Here", func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = "Here" }},
		{"a health check node port out of range", "spec.healthCheckNodePort", "70000", func(s *corev1.Service) {
			ofType(corev1.ServiceTypeLoadBalancer)(s)
			local(s)
			s.Spec.HealthCheckNodePort = 70000
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := objects.Service(service(tc.edit))
			var refused *objects.Error
			if got != nil || !errors.As(err, &refused) {
				t.Fatalf("got %v, %v, want an *Error", got, err)
			}
			p := refused.Problems[0]
			if p.Object != "Service demo/web" || p.Field != tc.field || p.Value != tc.value || !strings.Contains(p.Message, "expected") && !strings.Contains(p.Message, "must not") {
				t.Errorf("problem %+v, want %s %q and what was expected", p, tc.field, tc.value)
			}
			if !strings.Contains(err.Error(), tc.field) || !strings.Contains(err.Error(), "Service demo/web") {
				t.Errorf("error %q does not name object and field", err)
			}
		})
	}
}

func TestWhatIsWrongWithAServiceIsBounded(t *testing.T) {
	_, _, err := objects.Service(service(func(s *corev1.Service) {
		s.Spec.Ports = slices.Repeat([]corev1.ServicePort{{Port: 0}}, 1000)
	}))
	var refused *objects.Error
	if !errors.As(err, &refused) || len(refused.Problems) != 10 {
		t.Errorf("%d problems, want 10", len(refused.Problems))
	}
}

func TestOutsideAddressesAreNamedByTheFieldThatHasThemFirst(t *testing.T) {
	got := objects.OutsideFields(service(func(s *corev1.Service) {
		s.Spec.ExternalIPs = []string{"nonsense", "198.51.100.1", "198.51.100.1", "198.051.100.002"}
		ingress(corev1.LoadBalancerIngress{Hostname: "lb"}, corev1.LoadBalancerIngress{IP: "198.51.100.1"}, corev1.LoadBalancerIngress{IP: "198.51.100.1"})(s)
	}))
	want := objects.Fields{
		ExternalIPs:     map[netip.Addr]string{netip.MustParseAddr("198.51.100.1"): "spec.externalIPs[1]", netip.MustParseAddr("198.51.100.2"): "spec.externalIPs[3]"},
		LoadBalancerIPs: map[netip.Addr]string{netip.MustParseAddr("198.51.100.1"): "status.loadBalancer.ingress[1].ip"},
	}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
