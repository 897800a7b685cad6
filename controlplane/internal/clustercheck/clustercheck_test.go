package clustercheck

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
)

// says tests a finding.
func says(t *testing.T, name string, got check.Finding, outcome check.Outcome, message string) {
	t.Helper()
	if got.Outcome != outcome || !strings.Contains(got.Message, message) {
		t.Errorf("%s: %s: %s\nwant %s: %s", name, got.Outcome, got.Message, outcome, message)
	}
	if (got.Outcome == check.Fail || got.Outcome == check.Warn) && got.Advice == "" {
		t.Errorf("%s: %s without advice", name, got.Message)
	}
}

func TestWithoutAnAPIServerOneCheckFailsAndOthersSayWhy(t *testing.T) {
	var ids []string
	opened := 0
	for _, c := range Checks(t.Context(), Config{Now: time.Now, Limit: time.Second, Open: func() (*kube.Inspector, error) {
		opened++
		return nil, errors.New("kubeconfig nowhere:\nexpected one")
	}}) {
		if c.Title == "" || c.Group == "" || c.Scope != check.Cluster || slices.Contains(ids, c.ID) {
			t.Errorf("%+v", c.Definition)
		}
		ids = append(ids, c.ID)
		if c.ID == "apiserver-reachable" {
			says(t, c.ID, c.Look(t.Context()), check.Fail, "kubeconfig nowhere: expected one")
			continue
		}
		says(t, c.ID, c.Look(t.Context()), check.Skip, "the API server does not answer")
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
}

func TestWhatIsNotAllowedIsNotLookedAt(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("no"))
	says(t, "forbidden", unanswered(forbidden), check.Skip, "you may not look at it: nodes is forbidden")
	says(t, "another error", unanswered(errors.New("reset")), check.Fail, "reset")
}

func TestVersionsOfTheAPIServer(t *testing.T) {
	for version, want := range map[string]check.Outcome{
		"v1.29.9": check.Fail, "v1.30.0": check.Pass, "v1.36.3": check.Pass, "v1.31.2-eks-1": check.Pass, "v2.0.0": check.Pass, "v0.0.0-master": check.Fail, "": check.Skip,
	} {
		says(t, version, judgeVersion(version), want, version)
	}
}

func TestClocksThatDiffer(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	says(t, "agree", judgeSkew(at.Add(-2*time.Second), at), check.Pass, "agrees")
	says(t, "some", judgeSkew(at.Add(10*time.Second), at), check.Warn, "off by -10s")
	says(t, "much", judgeSkew(at.Add(-time.Minute), at), check.Fail, "off by 1m0s from the API server's: expected less than 30s")
	says(t, "unknown", judgeSkew(time.Time{}, at), check.Skip, "")
}

func TestKubeProxy(t *testing.T) {
	runs := &appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 3}}
	says(t, "none", judgeKubeProxy(nil, false), check.Pass, "no DaemonSet")
	says(t, "taken away", judgeKubeProxy(&appsv1.DaemonSet{}, false), check.Pass, "on no node")
	says(t, "before", judgeKubeProxy(runs, true), check.Warn, "on 3 nodes: expected that it is taken away")
	says(t, "after", judgeKubeProxy(runs, false), check.Warn, "beside Portolan")
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	says(t, "taken over", judgeConfiguration([]byte(head+"mode: ipvs\nclusterCIDR: 10.244.0.0/16\n")), check.Pass, "kube-proxy's mode is ipvs; all of its configuration")
	says(t, "the default", judgeConfiguration([]byte(head)), check.Warn, "the default, iptables; clusterCIDR: nothing is set")
	says(t, "without effect", judgeConfiguration([]byte(head+"portRange: 1-2\n")), check.Warn, "without effect are portRange")
	says(t, "misspelt", judgeConfiguration([]byte(head+"mod: ipvs\n")), check.Fail, "ConfigMap kube-system/kube-proxy, config.conf: line 3")
	cilium := &corev1.ConfigMap{Data: map[string]string{"kube-proxy-replacement": "true"}}
	says(t, "Cilium", judgeCilium(cilium), check.Fail, `kube-proxy-replacement is "true": expected "false"`)
	cilium.Data["kube-proxy-replacement"] = "false"
	says(t, "Cilium beside us", judgeCilium(cilium), check.Pass, "")
	says(t, "no Cilium", judgeCilium(nil), check.Pass, "")
}

// node makes a Node that is as it should be, and changes it.
func node(name string, change func(*corev1.Node)) corev1.Node {
	n := corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: "z"}},
		Spec:       corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24"}},
		Status: corev1.NodeStatus{
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: "linux", KernelVersion: "6.1.0"},
		},
	}
	change(&n)
	return n
}

func TestNodes(t *testing.T) {
	good := node("good", func(*corev1.Node) {})
	for name, test := range map[string]struct {
		judge   func([]corev1.Node) check.Finding
		change  func(*corev1.Node)
		message string
	}{
		"Windows":            {judgeSystems, func(n *corev1.Node) { n.Status.NodeInfo.OperatingSystem = "windows" }, "1 of 2 Nodes do not run Linux (bad)"},
		"an untested kernel": {judgeKernels, func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = "5.15.0" }, "1 of 2 Nodes: bad (5.15.0): Portolan was tested on 6.1 and later"},
		"not ready":          {judgeReady, func(n *corev1.Node) { n.Status.Conditions = nil }, "1 of 2 Nodes are not ready: bad"},
		"no addresses":       {judgeNodeAddresses, func(n *corev1.Node) { n.Status.Addresses = nil }, "neither an InternalIP nor an ExternalIP: bad"},
		"no pod CIDRs":       {judgePodCIDRs, func(n *corev1.Node) { n.Spec.PodCIDRs = nil }, "no spec.podCIDRs: bad"},
		"another family":     {judgeFamilies, func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"fd00::/64"} }, "IPv4 alone: good; IPv6 alone: bad"},
		"dual stack":         {judgeFamilies, func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.244.2.0/24", "fd00::/64"} }, "IPv4 alone: good; both families: bad"},
		"no zone":            {judgeZones, func(n *corev1.Node) { n.Labels = nil }, "no label topology.kubernetes.io/zone: bad"},
	} {
		says(t, name+" everywhere not", test.judge([]corev1.Node{good}), check.Pass, "")
		says(t, name, test.judge([]corev1.Node{good, node("bad", test.change)}), check.Warn, test.message)
	}
	old := func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = "4.18.0" }
	untested := func(n *corev1.Node) { n.Status.NodeInfo.KernelVersion = "5.15.0" }
	says(t, "an old kernel", judgeKernels([]corev1.Node{node("a", untested), node("b", old), good}), check.Fail, "1 of 3 Nodes: b (4.18.0): expected 5.6 or later")
	says(t, "no zones", judgeZones([]corev1.Node{node("a", func(n *corev1.Node) { n.Labels = nil })}), check.Pass, "no Node is in a zone")
	says(t, "no nodes", judgePresent(nil), check.Warn, "no Nodes")
	says(t, "nodes", judgePresent([]corev1.Node{good}), check.Pass, "1 Nodes")
	says(t, "no families", judgeFamilies(nil), check.Skip, "")
}

func service(name, address string, change func(*corev1.Service)) corev1.Service {
	s := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: address, ClusterIPs: []string{address}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	change(&s)
	return s
}

func TestServices(t *testing.T) {
	ports := func(n int) func(*corev1.Service) {
		return func(s *corev1.Service) {
			for i := range n {
				s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "p" + strings.Repeat("x", i), Port: int32(1000 + i), Protocol: corev1.ProtocolTCP})
			}
		}
	}
	good := service("good", "10.96.0.1", func(*corev1.Service) {})
	objects := &kube.Objects{Services: []corev1.Service{
		good,
		service("same", "10.96.0.1", func(*corev1.Service) {}),
		service("large", "10.96.0.3", ports(300)),
		service("weighed", "10.96.0.4", func(s *corev1.Service) {
			s.Annotations = map[string]string{"portolan.net/weights": "10.0.0.1=heavy", "portolan.net/weight": "x", "example.com/x": ""}
		}),
		service("other", "10.96.0.5", func(s *corev1.Service) {
			s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "x"}
		}),
	}, Slices: []discoveryv1.EndpointSlice{{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "demo", Name: "web-1", Labels: map[string]string{"kubernetes.io/service-name": "good"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"127.0.0.1"}}},
	}}, ServiceCIDRs: []networkingv1.ServiceCIDR{{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"x"}}}}}
	wants := map[string]string{
		"services-valid":       "Service demo/large",
		"services-addresses":   "Service demo/same: spec.clusterIP",
		"services-weights":     "metadata.annotations[portolan.net/weights]",
		"services-annotations": "portolan.net/weight of demo/weighed: expected portolan.net/scheduler or portolan.net/weights",
		"services-other-proxy": "1 Services have the label service.kubernetes.io/service-proxy-name, and are not served: demo/other",
		"services-endpoints":   "EndpointSlice demo/web-1",
		"services-ranges":      "ServiceCIDR kubernetes",
	}
	for name, all := range map[string]*kube.Objects{"bad": objects, "good": {Services: []corev1.Service{good}}} {
		c := &inspection{Config: Config{Limit: time.Second}, objects: func() (*kube.Objects, error) { return all, nil }}
		c.problems = c.findProblems
		for _, looked := range c.servicesChecks() {
			outcome, message := check.Warn, wants[looked.ID]
			if name == "good" {
				outcome, message = check.Pass, ""
			}
			says(t, looked.ID, looked.Look(t.Context()), outcome, message)
		}
	}
}

func TestTheInstallation(t *testing.T) {
	labelled := func(level string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{enforced: level}}}
	}
	says(t, "no namespace yet", judgeNamespace("n", nil, true), check.Pass, "not there yet")
	says(t, "no namespace", judgeNamespace("n", nil, false), check.Fail, "namespace n is not there")
	says(t, "privileged", judgeNamespace("n", labelled("privileged"), true), check.Pass, "")
	says(t, "restricted", judgeNamespace("n", labelled("restricted"), true), check.Fail, "enforce=restricted: expected privileged")

	deployment := func(wanted, ready int32) *appsv1.Deployment {
		return &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &wanted}, Status: appsv1.DeploymentStatus{ReadyReplicas: ready}}
	}
	says(t, "no Deployment", judgeDeployment(nil), check.Fail, "is not there")
	says(t, "two", judgeDeployment(deployment(2, 2)), check.Pass, "2 of 2")
	says(t, "one of two", judgeDeployment(deployment(2, 1)), check.Warn, "1 of 2 replicas are ready")
	says(t, "one", judgeDeployment(deployment(1, 1)), check.Warn, "expected 2")
	says(t, "none", judgeDeployment(deployment(2, 0)), check.Fail, "none of 2 replicas is ready")
	says(t, "no budget", judgeBudget(nil), check.Warn, "evict all control planes")
	says(t, "a budget", judgeBudget(&policyv1.PodDisruptionBudget{}), check.Pass, "")

	agents := func(desired, ready int32) *appsv1.DaemonSet {
		return &appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: desired, NumberReady: ready}}
	}
	says(t, "no DaemonSet", judgeDaemonSet(nil), check.Fail, "is not there")
	says(t, "nowhere", judgeDaemonSet(agents(0, 0)), check.Fail, "on no node")
	says(t, "not ready", judgeDaemonSet(agents(3, 0)), check.Fail, "none of 3")
	says(t, "some ready", judgeDaemonSet(agents(3, 2)), check.Warn, "2 of 3")
	says(t, "ready", judgeDaemonSet(agents(3, 3)), check.Pass, "3 of 3")
	nodes := []corev1.Node{node("a", func(*corev1.Node) {}), node("b", func(*corev1.Node) {}), node("w", func(n *corev1.Node) { n.Status.NodeInfo.OperatingSystem = "windows" })}
	says(t, "covered", judgeCoverage(agents(2, 2), nodes), check.Pass, "all 2 Linux nodes")
	says(t, "not covered", judgeCoverage(agents(1, 1), nodes), check.Warn, "on 1 of 2 Linux nodes")
	says(t, "none", judgeCoverage(nil, nodes), check.Skip, "")

	says(t, "one image", judgeImages("r:5000/p:0.1.0", "r:5000/p:0.1.0"), check.Pass, "")
	says(t, "two images", judgeImages("p:0.1.0", "p:0.2.0"), check.Warn, "p:0.1.0, agents of p:0.2.0")
	says(t, "latest", judgeImages("p:latest", "p:latest"), check.Warn, "expected a tag that stays")
	says(t, "no tag", judgeImages("r:5000/p", "r:5000/p"), check.Warn, "expected a tag that stays")

	const agent = "system:serviceaccount:n:portolan-agent"
	says(t, "taken", judgeToken(agent, true, "", "a", agent), check.Pass, "")
	says(t, "not taken", judgeToken("", false, "invalid", "a", agent), check.Fail, `does not take a token for audience "a": invalid`)
	says(t, "somebody else's", judgeToken("x", true, "", "a", agent), check.Fail, `expected "system:serviceaccount:n:portolan-agent"`)
}
