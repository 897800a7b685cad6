package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/pki"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

const (
	system   = "portolan-system"
	audience = "portolan.control-plane"
	// port is the control plane's for agents, api that for people.
	identityPort, identityAPI = 9540, 9543
)

// guarded is a control plane that asks who everybody is, with the rights that it needs and no
// more, on an API server that knows pods on two nodes.
type guarded struct {
	t         *testing.T
	dir       string
	server    *apiserver.Server
	objects   *cluster.Cluster
	authority *pki.Authority
	// pods are the agents' by node.
	pods map[string]*corev1.Pod
	// signingKey is the file of the key that the API server signs tokens with.
	signingKey string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	need(lab.NewNode())(t)
	// What agents leave in the kernel would be in the way of other tests.
	t.Cleanup(func() { product.Everything(context.Background(), "portolan-agent", "cleanup") })
	g := &guarded{t: t, dir: t.TempDir(), pods: map[string]*corev1.Pod{}}
	serverDir := t.TempDir()
	g.signingKey = filepath.Join(serverDir, "service-accounts.key")
	g.server = need(apiserver.Start(t.Context(), serverDir, "--request-timeout=3s"))(t)
	t.Cleanup(g.server.Stop)
	g.objects = need(cluster.New(t.Context(), g.server.Client, "e2e"))(t)
	need(cluster.New(t.Context(), g.server.Client, system))(t)
	core := g.server.Client.CoreV1()
	for _, account := range []string{"portolan-agent", "portolan-controlplane", "other", "viewer", "operator", "nobody"} {
		need(core.ServiceAccounts(system).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{}))(t)
	}
	for i, node := range []string{"node-a", "node-b"} {
		check(t, g.objects.CreateNode(t.Context(), node, fmt.Sprintf("192.0.2.%d", 10+i), fmt.Sprintf("10.244.%d.0/24", i+1)))
		g.pods[node] = g.pod("agent-"+node, node, "portolan-agent")
	}
	g.grant("controlplane", "portolan-controlplane", manifestsRole(t, "portolan-controlplane")...)
	g.grant("view", "viewer", manifestsRole(t, "portolan-view")...)
	g.grant("operate", "operator", manifestsRole(t, "portolan-admin")...)
	g.authority = need(pki.NewAuthority(g.dir))(t)
	return g
}

// manifestsRole returns what a ClusterRole of the plain manifests allows, so that these are what
// is tried.
func manifestsRole(t *testing.T, name string) []rbacv1.PolicyRule {
	t.Helper()
	text := string(need(os.ReadFile("../../deploy/manifests/portolan.yaml"))(t))
	for _, document := range strings.Split(text, "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &role); err == nil && role.Kind == "ClusterRole" && role.Name == name {
			return role.Rules
		}
	}
	t.Fatalf("the manifests have no ClusterRole %s", name)
	return nil
}

// pod makes a pod that is on a node.
func (g *guarded) pod(name, node, account string) *corev1.Pod {
	g.t.Helper()
	return need(g.server.Client.CoreV1().Pods(system).Create(g.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: account, Containers: []corev1.Container{{Name: "agent", Image: "portolan"}}},
	}, metav1.CreateOptions{}))(g.t)
}

func (g *guarded) grant(name, account string, rules ...rbacv1.PolicyRule) {
	g.t.Helper()
	roles := g.server.Client.RbacV1()
	need(roles.ClusterRoles().Create(g.t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "portolan-" + name}, Rules: rules}, metav1.CreateOptions{}))(g.t)
	need(roles.ClusterRoleBindings().Create(g.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "portolan-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "portolan-" + name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: system, Name: account}},
	}, metav1.CreateOptions{}))(g.t)
}

// token has the API server sign a token of an account, bound to a pod if one is given.
func (g *guarded) token(account, audience string, bound *corev1.Pod) string {
	g.t.Helper()
	request := &authenticationv1.TokenRequest{}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	if bound != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: bound.Name, UID: bound.UID}
	}
	answer := need(g.server.Client.CoreV1().ServiceAccounts(system).CreateToken(g.t.Context(), account, request, metav1.CreateOptions{}))(g.t)
	return answer.Status.Token
}

// agentsToken is that of a node's agent.
func (g *guarded) agentsToken(node string) string {
	g.t.Helper()
	return g.token("portolan-agent", audience, g.pods[node])
}

// start starts the control plane, and waits until it serves.
func (g *guarded) start(args ...string) *product.Process {
	g.t.Helper()
	kubeconfig := filepath.Join(g.dir, "kubeconfig")
	check(g.t, g.server.WriteKubeconfigAs(g.token("portolan-controlplane", "", nil), kubeconfig))
	cert, key, err := g.authority.Sign("portolan", "127.0.0.1", time.Now().Add(time.Hour))
	check(g.t, err)
	address := func(offset int) string { return fmt.Sprintf("127.0.0.1:%d", identityPort+offset) }
	p := product.Start(g.t, "portolan-controlplane", append([]string{"--kubeconfig", kubeconfig,
		"--listen", address(0), "--admin-listen", address(1), "--metrics-listen", address(2),
		"--tls-cert-file", cert, "--tls-key-file", key}, args...)...)
	r := &replica{metrics: address(2)}
	within(g.t, time.Minute, r.ready)
	return p
}

// knocked is what came of a knock.
type knocked struct {
	Code, Message string
	Resources     []string
	Lasted        float64
}

func (g *guarded) knock(t *testing.T, args ...string) knocked {
	t.Helper()
	text, err := product.Run(t.Context(), "knock", append([]string{"--server", fmt.Sprintf("127.0.0.1:%d", identityPort)}, args...)...)
	check(t, err)
	var answer knocked
	check(t, json.Unmarshal([]byte(text), &answer))
	return answer
}

// TestWhoIsLetInAsANode, of all who come to the agents' port.
func TestWhoIsLetInAsANode(t *testing.T) {
	g := newGuarded(t)
	g.localService(t)
	g.start("--agent-auth", "token", "--api-listen", fmt.Sprintf("127.0.0.1:%d", identityAPI))
	good := g.agentsToken("node-a")
	parsed := need(pki.Parse(good))(t)
	forge := func(change func(claims, k8s map[string]any)) string {
		claims := maps.Clone(parsed.Claims)
		k8s := maps.Clone(claims["kubernetes.io"].(map[string]any))
		claims["kubernetes.io"] = k8s
		change(claims, k8s)
		return need(pki.Token{Header: parsed.Header, Claims: claims}.Sign(g.signingKey))(t)
	}
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	elsewhere := need(pki.NewAuthority(t.TempDir()))(t)
	_, strange, err := elsewhere.Sign("key", "", time.Now().Add(time.Hour))
	check(t, err)
	none := parsed
	none.Header = map[string]any{"alg": "none", "typ": "JWT"}
	unknown := parsed
	unknown.Header = maps.Clone(parsed.Header)
	unknown.Header["kid"] = "unknown"
	tls := []string{"--ca", g.authority.CA}
	show := func(token string) []string { return append(slices.Clone(tls), "--authorization", "Bearer "+token) }
	for _, test := range []struct {
		who  string
		args []string
		node string
		code string
		why  string
	}{
		{"a node's agent", show(good), "node-a", "OK", ""},
		{"signed as it would be", show(forge(func(_, _ map[string]any) {})), "node-a", "OK", ""},
		{"nobody", tls, "node-a", "Unauthenticated", "expected one"},
		{"garbage", show("garbage"), "node-a", "Unauthenticated", "expected a signed"},
		{"a password", append(slices.Clone(tls), "--authorization", "Basic dXNlcjpwYXNz"), "node-a", "Unauthenticated", "expected"},
		{"two at once", append(show(good), "--authorization", "Bearer "+good), "node-a", "Unauthenticated", "2 headers"},
		{"an agent's token for the API server", show(g.token("portolan-agent", "", g.pods["node-a"])), "node-a", "Unauthenticated", "audience"},
		{"another pod on the node", show(g.token("other", audience, g.pod("other", "node-a", "other"))), "node-a", "Unauthenticated", "subject"},
		{"the control plane's account", show(g.token("portolan-controlplane", audience, nil)), "node-a", "Unauthenticated", "subject"},
		{"a token of no pod", show(g.token("portolan-agent", audience, nil)), "node-a", "Unauthenticated", "bound to no pod"},
		{"a token that has ended", show(forge(func(c, _ map[string]any) { c["exp"] = at(-time.Hour) })), "node-a", "Unauthenticated", "expired"},
		{"a token that has not begun", show(forge(func(c, _ map[string]any) { c["nbf"] = at(time.Hour) })), "node-a", "Unauthenticated", "not valid before"},
		{"a token that does not end", show(forge(func(c, _ map[string]any) { delete(c, "exp") })), "node-a", "Unauthenticated", "no expiry"},
		{"another cluster's", show(forge(func(c, _ map[string]any) { c["iss"] = "https://elsewhere" })), "node-a", "Unauthenticated", "issuer"},
		{"a token of no node", show(forge(func(_, k map[string]any) { delete(k, "node") })), "node-a", "Unauthenticated", "names no node"},
		{"signed by somebody else", show(need(parsed.Sign(strange))(t)), "node-a", "Unauthenticated", "signature"},
		{"signed with a key that is not known", show(need(unknown.Sign(g.signingKey))(t)), "node-a", "Unauthenticated", "key"},
		{"not signed", show(need(none.Unsigned())(t)), "node-a", "Unauthenticated", "expected a signed"},
		{"who speaks plaintext", nil, "node-a", "Unavailable", ""},
		{"who speaks TLS 1.2", append(show(good), "--tls12"), "node-a", "Unavailable", ""},
		{"who expects another name", append(show(good), "--name", "elsewhere"), "node-a", "Unavailable", ""},
		{"who trusts another CA", []string{"--ca", elsewhere.CA, "--authorization", "Bearer " + good}, "node-a", "Unavailable", ""},

		{"node-a's agent, for node-b", show(good), "node-b", "PermissionDenied", `view of node "node-b": the peer is of node "node-a"`},
		{"and as an observer", append(show(good), "--half-close"), "node-b", "PermissionDenied", "node-b"},
		{"for a node that there is not", show(good), "node-z", "PermissionDenied", "node-z"},
		{"for everybody", show(good), "*", "InvalidArgument", `"*"`},
		{"for a name that looks like its own", show(good), "NODE-A", "PermissionDenied", "NODE-A"},
		{"for a name with its own in it", show(good), "node-a/../node-b", "InvalidArgument", "node-b"},
		{"for no node", show(good), "", "InvalidArgument", "node"},
	} {
		t.Run(test.who, func(t *testing.T) {
			got := g.knock(t, append(test.args, "--node", test.node)...)
			if got.Code != test.code || !strings.Contains(got.Message, test.why) {
				t.Errorf("%s %q: want %s %q", got.Code, got.Message, test.code, test.why)
			}
			if test.code != "OK" && len(got.Resources) > 0 {
				t.Errorf("was told %v", got.Resources)
			}
			for _, secret := range []string{good, "PRIVATE"} {
				if strings.Contains(got.Message, secret) {
					t.Errorf("the answer has a secret in it: %s", got.Message)
				}
			}
		})
	}

	t.Run("a node is told nothing of another", func(t *testing.T) {
		for node, other := range map[string]string{"node-a": "node-b", "node-b": "node-a"} {
			got := g.knock(t, append(show(g.agentsToken(node)), "--node", node)...)
			text := strings.Join(got.Resources, "\n")
			if !strings.Contains(text, "NodeConfig "+node) || strings.Contains(text, other) {
				t.Errorf("%s is told of\n%s", node, text)
			}
			hasLocal := strings.Contains(text, "LocalEndpoints e2e/here")
			if hasLocal != (node == "node-b") {
				t.Errorf("%s: local endpoints of node-b: %v", node, hasLocal)
			}
		}
	})
	t.Run("people ask as far as the cluster allows them to", func(t *testing.T) { g.people(t, good) })
	t.Run("an agent lives by its token", g.agentByToken)
	t.Run("a pod that is gone is cut off", func(t *testing.T) {
		pod := g.pod("short-lived", "node-a", "portolan-agent")
		token := g.token("portolan-agent", audience, pod)
		over := make(chan knocked, 1)
		go func() { over <- g.knock(t, append(show(token), "--node", "node-a", "--stay", "90s")...) }()
		time.Sleep(time.Second)
		now := int64(0)
		check(t, g.server.Client.CoreV1().Pods(system).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
		if got := <-over; got.Code != "Unauthenticated" || !strings.Contains(got.Message, "no longer good") || got.Lasted > 60 {
			t.Errorf("after %.0f s: %s %q", got.Lasted, got.Code, got.Message)
		}
		if got := g.knock(t, append(show(token), "--node", "node-a")...); got.Code != "Unauthenticated" {
			t.Errorf("and then it is let in again: %s %q", got.Code, got.Message)
		}
	})
	t.Run("without the API server agents are let in all the same", func(t *testing.T) {
		token := g.agentsToken("node-b")
		g.server.Stop()
		if got := g.knock(t, append(show(token), "--node", "node-b")...); got.Code != "OK" {
			t.Errorf("%s %q", got.Code, got.Message)
		}
		if got := g.knock(t, append(show(token), "--node", "node-a")...); got.Code != "PermissionDenied" {
			t.Errorf("%s %q", got.Code, got.Message)
		}
	})
}

// localService makes a Service whose only endpoint is on node-b, and whose traffic stays on
// the node.
func (g *guarded) localService(t *testing.T) {
	t.Helper()
	local := corev1.ServiceInternalTrafficPolicyLocal
	need(g.server.Client.CoreV1().Services("e2e").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "here"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, InternalTrafficPolicy: &local},
	}, metav1.CreateOptions{}))(t)
	port, node, ready := int32(cluster.TargetPort), "node-b", true
	need(g.server.Client.DiscoveryV1().EndpointSlices("e2e").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "here-1", Labels: map[string]string{discoveryv1.LabelServiceName: "here"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new(string), Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.2.5"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{}))(t)
}

// people asks over the network with the tokens of accounts that may different things.
func (g *guarded) people(t *testing.T, agents string) {
	ask := func(token string, args ...string) string {
		args = append(args, "--server", fmt.Sprintf("127.0.0.1:%d", identityAPI), "--tls-ca-file", g.authority.CA)
		if token != "" {
			args = append(args, "--token", token)
		}
		return product.Everything(t.Context(), "portolan", args...)
	}
	viewer, operator, nobody := g.token("viewer", "", nil), g.token("operator", "", nil), g.token("nobody", "", nil)
	for _, test := range []struct {
		who, token string
		args       []string
		want       string
	}{
		{"who may look", viewer, []string{"get", "nodes"}, "node-a"},
		{"who may look, at one node", viewer, []string{"get", "services", "--node", "node-b"}, "e2e/here"},
		{"who may look, at what is held back", viewer, []string{"release"}, "nothing is held back"},
		{"who may order, and look", operator, []string{"get", "nodes"}, "node-a"},
		{"who may nothing", nobody, []string{"get", "nodes"}, `may not get /portolan/introspection: expected a ClusterRole with nonResourceURLs: ["/portolan/introspection"], verbs: [get]`},
		{"an agent", agents, []string{"get", "nodes"}, "does not take the token"},
		{"an agent with a token for the API server", g.token("portolan-agent", "", g.pods["node-a"]), []string{"get", "nodes"}, "may not get /portolan/introspection"},
		{"who has no token", "", []string{"get", "nodes"}, "expected one"},
		{"who makes one up", "made.up.token", []string{"get", "nodes"}, "does not take the token"},
	} {
		if got := ask(test.token, test.args...); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s\nwant %q", test.who, got, test.want)
		}
	}
}

// agentByToken has an agent connect by a token in a file, which is exchanged.
func (g *guarded) agentByToken(t *testing.T) {
	file := filepath.Join(g.dir, "token")
	check(t, os.WriteFile(file, []byte(g.agentsToken("node-a")+"\n"), 0o600))
	agent := product.Start(t, "portolan-agent", "--node", "node-a", "--server", fmt.Sprintf("127.0.0.1:%d", identityPort), "--checkpoint-file", "",
		"--tls-ca-file", g.authority.CA, "--token-file", file)
	synced := func(want bool) {
		t.Helper()
		eventually(t, func() error {
			nodes, err := product.Run(t.Context(), "portolan", "get", "nodes", "--server", fmt.Sprintf("127.0.0.1:%d", identityPort+1))
			if err == nil && strings.Contains(nodes, "Synced") != want {
				err = fmt.Errorf("nodes:\n%s", nodes)
			}
			return err
		})
	}
	synced(true)
	agent.Kill()
	synced(false)
	check(t, os.WriteFile(file, []byte("garbage"), 0o600))
	product.Start(t, "portolan-agent", "--node", "node-a", "--server", fmt.Sprintf("127.0.0.1:%d", identityPort), "--checkpoint-file", "",
		"--tls-ca-file", g.authority.CA, "--token-file", file)
	time.Sleep(2 * time.Second)
	synced(false)
	check(t, os.WriteFile(file, []byte(g.agentsToken("node-a")), 0o600))
	synced(true)
}

// TestANodesCertificateNamesIt where certificates are asked for.
func TestANodesCertificateNamesIt(t *testing.T) {
	g := newGuarded(t)
	g.start("--agent-auth", "certificate", "--tls-ca-file", g.authority.CA)
	other := need(pki.NewAuthority(t.TempDir()))(t)
	hour := time.Now().Add(time.Hour)
	show := func(a *pki.Authority, name string, until time.Time) []string {
		cert, key, err := a.Sign(name, "", until)
		check(t, err)
		return []string{"--ca", g.authority.CA, "--cert", cert, "--key", key}
	}
	for _, test := range []struct {
		who        string
		args       []string
		node, code string
	}{
		{"its own", show(g.authority, "node-a", hour), "node-a", "OK"},
		{"as a kubelet's", show(g.authority, "system:node:node-a", hour), "node-a", "OK"},
		{"another's", show(g.authority, "node-b", hour), "node-a", "PermissionDenied"},
		{"of another CA", show(other, "node-a", hour), "node-a", "Unavailable"},
		{"that has ended", show(g.authority, "node-a", time.Now().Add(-time.Minute)), "node-a", "Unavailable"},
		{"none", []string{"--ca", g.authority.CA}, "node-a", "Unavailable"},
		{"none, but a token", []string{"--ca", g.authority.CA, "--authorization", "Bearer " + g.agentsToken("node-a")}, "node-a", "Unavailable"},
	} {
		if got := g.knock(t, append(test.args, "--node", test.node)...); got.Code != test.code {
			t.Errorf("%s: %s %q, want %s", test.who, got.Code, got.Message, test.code)
		}
	}
}
