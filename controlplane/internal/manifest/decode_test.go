package manifest

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

const web = `apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: demo
spec:
  clusterIP: 10.96.0.10
  ports:
  - name: http
    port: 80
`

func decodeAll(text string) *contents { return read("web.yaml", []byte(text), nil) }

func TestDecodeReads(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string // the objects, in order
	}{
		"YAML":                   {web, "Service demo/web"},
		"several documents":      {web + "---\n# nothing\n---\n" + strings.ReplaceAll(web, "name: web", "name: api"), "Service demo/web, Service demo/api"},
		"a leading separator":    {"--- # first\n" + web, "Service demo/web"},
		"Windows line ends":      {strings.ReplaceAll(web+"---\n", "\n", "\r\n"), "Service demo/web"},
		"a byte order mark":      {"\xef\xbb\xbf" + web, "Service demo/web"},
		"no newline at the end":  {strings.TrimSpace(web), "Service demo/web"},
		"nothing":                {"", ""},
		"comments":               {"# nothing\n", ""},
		"JSON":                   {`{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}`, "Node n1"},
		"JSON with tabs":         {"{\n\t\"apiVersion\":\"v1\",\n\t\"kind\":\"Node\",\n\t\"metadata\":{\"name\":\"n1\"}\n}\n", "Node n1"},
		"a stream of JSON":       {`{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}} {"apiVersion":"v1","kind":"Node","metadata":{"name":"n2"}}`, "Node n1, Node n2"},
		"flow style":             {"{apiVersion: v1, kind: Node, metadata: {name: n1}}", "Node n1"},
		"the default namespace":  {"{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None}}", "Service default/web"},
		"no namespace of a Node": {"{apiVersion: v1, kind: Node, metadata: {name: n1, namespace: demo}}", "Node n1"},
		"ServiceCIDR":            {"{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: k}, spec: {cidrs: [10.96.0.0/12]}}", "ServiceCIDR k"},
		"other kinds not":        {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, whatever: 1}", ""},
		"other groups not":       {"{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: web}}", ""},
		"a List":                 {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n", "Node n1"},
		"a NodeList":             {"apiVersion: v1\nkind: NodeList\nmetadata: {resourceVersion: '7'}\nitems:\n- {metadata: {name: n1}}\n", "Node n1"},
		"no clusterIP needed":    {"{apiVersion: v1, kind: Service, metadata: {name: out}, spec: {type: ExternalName, externalName: example.com}}\n---\n{apiVersion: v1, kind: Service, metadata: {name: theirs, labels: {service.kubernetes.io/service-proxy-name: x}}}", "Service default/out, Service default/theirs"},
		"other lists not":        {"apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {name: n1}}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := decodeAll(tc.text)
			var got []string
			for _, i := range c.order {
				got = append(got, i.String())
			}
			if joined := strings.Join(got, ", "); joined != tc.want || c.broken {
				t.Errorf("objects %q, want %q; problems %v", joined, tc.want, c.problems)
			}
		})
	}
}

func TestDecodeCompletesWhatAnAPIServerWouldFillIn(t *testing.T) {
	c := decodeAll(web)
	spec := c.objects[id{"Service", "demo", "web"}].(*corev1.Service).Spec
	if len(spec.ClusterIPs) != 1 || spec.ClusterIPs[0] != "10.96.0.10" || len(spec.IPFamilies) != 1 || spec.IPFamilies[0] != corev1.IPv4Protocol {
		t.Errorf("clusterIPs %v of families %v", spec.ClusterIPs, spec.IPFamilies)
	}
	c = decodeAll("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIPs: ['2001:db8::1', 10.96.0.1]}}")
	spec = c.objects[id{"Service", "default", "web"}].(*corev1.Service).Spec
	if spec.ClusterIP != "2001:db8::1" || len(spec.IPFamilies) != 2 || spec.IPFamilies[0] != corev1.IPv6Protocol {
		t.Errorf("clusterIP %v, families %v", spec.ClusterIP, spec.IPFamilies)
	}
	c = decodeAll("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None}}")
	if spec := c.objects[id{"Service", "default", "web"}].(*corev1.Service).Spec; spec.ClusterIPs != nil {
		t.Errorf("a headless Service got clusterIPs %v", spec.ClusterIPs)
	}
	c = decodeAll("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: IPv4, ports: [{port: 80}]}")
	if s := c.objects[id{"EndpointSlice", "default", "s"}].(*discoveryv1.EndpointSlice); s.Ports[0].Name == nil {
		t.Error("the port of a slice has no name: it would match no Service port")
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		text                string
		field, value        string
		line, says, objects string
	}{
		"an unknown field": {
			text: strings.Replace(web, "    port: 80", "    prot: TCP\n    port: 80", 1), field: "spec.ports[0].prot",
			line: "line 10:", says: "unknown field", objects: "Service demo/web",
		},
		"a repeated field": {text: web + "  clusterIP: 10.96.0.11\n", line: "line 11:", says: `"clusterIP" already set`, objects: "Service demo/web"},
		"a repeated field of JSON": {
			text:  `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","name":"n2"}}`,
			field: "metadata.name", line: "line 1:", says: "duplicate field",
		},
		"a value of the wrong type": {
			text: strings.Replace(web, "port: 80", "port: http", 1), field: "spec.ports[0].port", value: "http",
			line: "line 10:", says: "expected a whole number of 32 bits", objects: "Service demo/web",
		},
		"a number that is too large":  {text: strings.Replace(web, "port: 80", "port: 99999999999", 1), field: "spec.ports[0].port", value: "99999999999", line: "line 10:", says: "expected a whole number"},
		"a list in place of a string": {text: strings.Replace(web, "clusterIP: 10.96.0.10", "clusterIP: [10.96.0.10]", 1), field: "spec.clusterIP", value: `["10.96.0.10"]`, line: "line 7:", says: "expected a string"},
		"a tab":                       {text: "kind: Service\n\tmetadata:\n", line: "line 2:", says: "expected YAML or JSON"},
		"a second document":           {text: web + "---\n" + strings.Replace(web, "port: 80", "port: x", 1), field: "spec.ports[0].port", value: "x", line: "line 21:", objects: "Service demo/web"},
		"no kind":                     {text: "apiVersion: v1\nmetadata: {name: x}\n", field: "kind", line: "line 1:", says: "expected a kind"},
		"no apiVersion":               {text: "kind: Service\nmetadata: {name: x}\n", field: "apiVersion", says: "expected v1", objects: "Service default/x"},
		"an old apiVersion":           {text: "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: x}\n", field: "apiVersion", value: "discovery.k8s.io/v1beta1", says: "expected discovery.k8s.io/v1"},
		"no name":                     {text: "apiVersion: v1\nkind: Service\nmetadata: {}\n", field: "metadata.name", line: "line 3:", says: "expected"},
		"a name that cannot be one":   {text: strings.Replace(web, "name: web", "name: a/b", 1), field: "metadata.name", value: "a/b", line: "line 4:", says: "expected"},
		"a bad namespace":             {text: strings.Replace(web, "namespace: demo", "namespace: De", 1), field: "metadata.namespace", value: "De", line: "line 5:"},
		"no clusterIP":                {text: strings.Replace(web, "  clusterIP: 10.96.0.10\n", "", 1), field: "spec.clusterIP", line: "line 6:", says: "expected an address, or None", objects: "Service demo/web"},
		"not an object":               {text: "- 1\n- 2\n", says: "expected an object"},
		"an item of a List":           {text: "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n- apiVersion: v1\n  kind: Node\n  metadata: {name: n2}\n  spec: {podCIDR: 7}\n", field: "items[1].spec.podCIDR", value: "7", line: "line 8:", says: "expected a string", objects: "Node n2"},
		"Lists without end":           {text: strings.Repeat("{apiVersion: v1, kind: List, items: [", 9) + strings.Repeat("]}", 9), field: "items[0].items[0].items[0].items[0]", says: "at most 4 Lists"},
	} {
		t.Run(name, func(t *testing.T) {
			c := decodeAll(tc.text)
			if !c.broken || len(c.problems) == 0 {
				t.Fatalf("no problem; objects %v", c.order)
			}
			p := c.problems[0]
			if p.Object != "file web.yaml" || p.Field != tc.field || p.Value != tc.value {
				t.Errorf("problem %+v, want field %q, value %q", p, tc.field, tc.value)
			}
			for _, want := range []string{tc.line, tc.says, tc.objects} {
				if !strings.Contains(p.Message, want) {
					t.Errorf("message %q does not say %q", p.Message, want)
				}
			}
		})
	}
}

func TestABrokenItemDoesNotHideTheOthers(t *testing.T) {
	c := decodeAll("apiVersion: v1\nkind: List\nitems:\n- {kind: Node}\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n" + web)
	if len(c.order) != 2 || !c.broken {
		t.Errorf("objects %v, broken %v", c.order, c.broken)
	}
}

func TestProblemsOfAFileAreBounded(t *testing.T) {
	c := decodeAll(strings.Repeat("---\nkind: Service\n", 50))
	if len(c.problems) != maxFaults+1 || !strings.Contains(c.problems[maxFaults].Message, "40 more") {
		t.Errorf("%d problems, the last %v", len(c.problems), c.problems[len(c.problems)-1])
	}
}

func TestUnchangedDocumentsAreNotReadAgain(t *testing.T) {
	other := strings.ReplaceAll(web, "name: web", "name: api")
	before := decodeAll(web + "---\n" + other)
	after := read("web.yaml", []byte(strings.Replace(web, "port: 80", "port: 81", 1)+"---\n"+other), before)
	for name, same := range map[string]bool{"web": false, "api": true} {
		i := id{"Service", "demo", name}
		if (before.objects[i] == after.objects[i]) != same {
			t.Errorf("%v is the same object: want %v", i, same)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(web)
	f.Add(web + "---\n" + web)
	f.Add(`{"apiVersion":"v1","kind":"List","items":[{"kind":"Node"}]} {}`)
	f.Add("apiVersion: v1\nkind: Service\nmetadata: {name: 7}\nspec: {ports: [{port: {}}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := decodeAll(text)
		if c.broken != (len(c.problems) > 0) {
			t.Errorf("broken is %v with problems %v", c.broken, c.problems)
		}
	})
}
