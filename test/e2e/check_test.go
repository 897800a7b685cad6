package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

// found is what portolan check found, by check.
type found map[string]struct{ Outcome, Message string }

// looks runs portolan check and expects outcomes, "outcome: part of the message" by check. What
// there is no expectation for must have passed.
func looks(t *testing.T, wants map[string]string, args ...string) found {
	t.Helper()
	output, _ := product.Run(t.Context(), "portolan", append([]string{"check", "-o", "json"}, args...)...)
	var report struct {
		Checks []struct{ ID, Outcome, Message string }
	}
	if err := json.Unmarshal([]byte(output), &report); err != nil || len(report.Checks) == 0 {
		t.Fatalf("%v: %v: %s", args, err, product.Everything(t.Context(), "portolan", append([]string{"check"}, args...)...))
	}
	all := found{}
	for _, c := range report.Checks {
		all[c.ID] = struct{ Outcome, Message string }{c.Outcome, c.Message}
		want, ok := wants[c.ID]
		if !ok {
			want = "pass: "
		}
		outcome, message, _ := strings.Cut(want, ": ")
		if c.Outcome != outcome || !strings.Contains(c.Message, message) {
			t.Errorf("%v: %s: %s: %s\nwant %s", args, c.ID, c.Outcome, c.Message, want)
		}
	}
	for id := range wants {
		if _, ok := all[id]; !ok {
			t.Errorf("%v: %s was not looked at", args, id)
		}
	}
	return all
}

// fromManifests reads an object of the plain manifests.
func fromManifests(t *testing.T, kind string, into any) {
	t.Helper()
	for _, document := range strings.Split(string(need(os.ReadFile("../../deploy/manifests/portolan.yaml"))(t)), "\n---\n") {
		var head metav1.TypeMeta
		check(t, yaml.Unmarshal([]byte(document), &head))
		if head.Kind == kind {
			check(t, yaml.Unmarshal([]byte(document), into))
			return
		}
	}
	t.Fatalf("the manifests have no %s", kind)
}

// TestTheChecksOfACluster before an installation, half way, and after: by a real API server, with
// a control plane and an agent that run, and with the chart's own objects.
func TestTheChecksOfACluster(t *testing.T) {
	g := newGuarded(t)
	cluster := []string{"--scope", "cluster", "--kubeconfig", g.server.Kubeconfig}
	pre := map[string]string{
		"nodes-ready": "warn: 2 of 2 Nodes are not ready: node-a, node-b", // No kubelet says so.
		// What the fixture's Nodes have not.
		"kubeproxy-configuration": "skip: there is no kube-proxy of kubeadm's",
	}
	seen := looks(t, pre, append(cluster, "--pre")...)
	if got := seen["apiserver-version"].Message; !strings.Contains(got, "v1.") {
		t.Errorf("%s", got)
	}

	// What will not be served is named.
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "odd", Annotations: map[string]string{"portolan.net/weights": "10.0.0.1=heavy", "portolan.net/weigths": ""}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, ExternalIPs: []string{"198.51.100.77"}},
	}
	need(g.server.Client.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}))(t)
	kubeProxy := &appsv1.DaemonSet{}
	fromManifests(t, "DaemonSet", kubeProxy)
	kubeProxy.Namespace, kubeProxy.Name = metav1.NamespaceSystem, "kube-proxy"
	sets := g.server.Client.AppsV1()
	kubeProxy = need(sets.DaemonSets(metav1.NamespaceSystem).Create(t.Context(), kubeProxy, metav1.CreateOptions{}))(t)
	kubeProxy.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: 2, NumberReady: 2}
	need(sets.DaemonSets(metav1.NamespaceSystem).UpdateStatus(t.Context(), kubeProxy, metav1.UpdateOptions{}))(t)
	need(g.server.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy"}, Data: map[string]string{"config.conf": kubeadms},
	}, metav1.CreateOptions{}))(t)
	pre["services-addresses"] = "warn: lies in ServiceCIDR"
	pre["services-weights"] = "warn: metadata.annotations[portolan.net/weights]"
	pre["services-annotations"] = "warn: portolan.net/weigths of default/odd"
	pre["kubeproxy-daemonset"] = "warn: is on 2 nodes: expected that it is taken away"
	pre["kubeproxy-configuration"] = "warn: kube-proxy's mode is ipvs; without effect are"
	looks(t, pre, append(cluster, "--pre")...)
	check(t, g.server.Client.CoreV1().Services("default").Delete(t.Context(), "odd", metav1.DeleteOptions{}))
	check(t, sets.DaemonSets(metav1.NamespaceSystem).Delete(t.Context(), "kube-proxy", metav1.DeleteOptions{}))

	// Nothing is installed yet, but rights.
	unasked := "skip: no control plane answers questions"
	after := map[string]string{
		"nodes-ready":          pre["nodes-ready"],
		"install-controlplane": "fail: Deployment portolan-controlplane is not there", "install-budget": "warn: is not there",
		"install-agents": "fail: DaemonSet portolan-agent is not there", "install-coverage": "skip: ", "install-images": "skip: ",
		"sync-answers": "skip: no --server is given", "sync-nodes": unasked, "sync-warnings": unasked, "sync-versions": unasked, "sync-objects": unasked, "sync-brake": unasked,
	}
	looks(t, after, cluster...)

	g.install()
	for id := range after {
		if strings.HasPrefix(id, "install-") {
			delete(after, id)
		}
	}
	after["install-controlplane"] = "warn: 1 of 2 replicas are ready"
	looks(t, after, cluster...)

	// With a control plane and one agent of two.
	g.start("--agent-auth", "token")
	token := filepath.Join(g.dir, "agents-token")
	check(t, os.WriteFile(token, []byte(g.agentsToken("node-a")), 0o600))
	checkpoint := filepath.Join(g.dir, "checkpoint")
	agents := fmt.Sprintf("127.0.0.1:%d", identityPort)
	product.Start(t, "portolan-agent", "--node", "node-a", "--server", agents, "--checkpoint-file", checkpoint, "--tls-ca-file", g.authority.CA, "--token-file", token)
	asks := fmt.Sprintf("127.0.0.1:%d", identityPort+1)
	eventually(t, func() error {
		if got := product.Everything(t.Context(), "portolan", "get", "nodes", "--server", asks); !strings.Contains(got, "Synced") {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	for id := range after {
		if strings.HasPrefix(id, "sync-") {
			delete(after, id)
		}
	}
	after["sync-nodes"] = "fail: 1 of 2 nodes are Synced; Disconnected: node-b"
	looks(t, after, append(cluster, "--server", asks)...)

	// On the node, as the agent is given it.
	node := []string{"--scope", "node", "--node", "node-a", "--agent-server", agents, "--agent-tls-ca-file", g.authority.CA, "--agent-token-file", token, "--checkpoint-file", checkpoint}
	eventually(t, func() error { _, err := os.Stat(checkpoint); return err })
	of := func(args ...string) []string { return append(node, "--only", strings.Join(args, ",")) }
	looks(t, map[string]string{
		"tls-ca": "warn: expected more than 30 days", "tls-certificate": "skip: ",
		"controlplane-tls": "fail: expected more than 30 days", // The tests' certificates end within the hour.
	}, of("token", "tls", "controlplane", "agent-tables", "agent-anchor", "agent-process", "agent-health", "node-checkpoint")...)
	looks(t, map[string]string{
		"token-node": `fail: names node "node-a": expected "node-b"`, "controlplane-configuration": "fail: no control plane has had a configuration for node \"node-b\"",
	}, append(of("token-node", "controlplane-configuration"), "--node", "node-b", "--timeout", "3s")...)

	// Who may nothing sees nothing, and is told so.
	powerless := filepath.Join(g.dir, "nobody")
	check(t, g.server.WriteKubeconfigAs(g.token("nobody", "", nil), powerless))
	looks(t, map[string]string{
		"rights-install": "fail: you may not create clusterroles.rbac.authorization.k8s.io", "nodes-present": "skip: you may not look at it: nodes is forbidden",
	}, "--scope", "cluster", "--kubeconfig", powerless, "--pre", "--only", "rights-install,nodes-present,apiserver-version")

	// A right too many is noticed, as one too few is.
	g.grant("toomuch", "portolan-agent", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}})
	check(t, g.server.Client.RbacV1().ClusterRoleBindings().Delete(t.Context(), "portolan-controlplane", metav1.DeleteOptions{}))
	eventually(t, func() error {
		output, _ := product.Run(t.Context(), "portolan", append(append([]string{"check"}, cluster...), "--only", "rights")...)
		for _, want := range []string{"portolan-agent may list secrets: expected no rights", "portolan-controlplane may not list services, watch services"} {
			if !strings.Contains(output, want) {
				return fmt.Errorf("%s\nwant %s", output, want)
			}
		}
		return nil
	})
}

// install creates the chart's objects that checks look for, as if one control plane of two and
// both agents were ready.
func (g *guarded) install() {
	g.t.Helper()
	apps := g.server.Client.AppsV1()
	deployment, agents, budget := &appsv1.Deployment{}, &appsv1.DaemonSet{}, &policyv1.PodDisruptionBudget{}
	fromManifests(g.t, "Deployment", deployment)
	fromManifests(g.t, "DaemonSet", agents)
	fromManifests(g.t, "PodDisruptionBudget", budget)
	deployment = need(apps.Deployments(system).Create(g.t.Context(), deployment, metav1.CreateOptions{}))(g.t)
	deployment.Status = appsv1.DeploymentStatus{Replicas: 2, ReadyReplicas: 1}
	need(apps.Deployments(system).UpdateStatus(g.t.Context(), deployment, metav1.UpdateOptions{}))(g.t)
	agents = need(apps.DaemonSets(system).Create(g.t.Context(), agents, metav1.CreateOptions{}))(g.t)
	agents.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: 2, NumberReady: 2}
	need(apps.DaemonSets(system).UpdateStatus(g.t.Context(), agents, metav1.UpdateOptions{}))(g.t)
	need(g.server.Client.PolicyV1().PodDisruptionBudgets(system).Create(g.t.Context(), budget, metav1.CreateOptions{}))(g.t)
}
