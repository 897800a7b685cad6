package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

// howToMigrate is the page that TestMigration follows.
const howToMigrate = "../../docs/how-to/migrate-from-kube-proxy.md"

// migrationPort is where agents come, and the next one is the admin port.
const migrationPort = 9470

// TestMigration follows the page from kube-proxy to Portolan and back, on a node of its own for
// each mode of kube-proxy, which is the real one. All the time new connections are made, and one
// that is old goes on: none may fail. (This kernel has no IPVS. That
// virtual servers are taken over is tested where it has.)
func TestMigration(t *testing.T) {
	m := newMigration(t)
	for i, mode := range []string{"nftables", "iptables"} {
		t.Run(mode, func(t *testing.T) { m.follow(t, mode, fmt.Sprintf("192.168.78.%d", 21+i)) })
	}
}

// migration is an API server with what a cluster of kubeadm has.
type migration struct {
	dir, kubeconfig string
	server          *apiserver.Server
	objects         *cluster.Cluster
	page            string
}

func newMigration(t *testing.T) *migration {
	t.Helper()
	m := &migration{dir: t.TempDir(), page: string(need(os.ReadFile(howToMigrate))(t))}
	need(lab.NewNode())(t)
	m.server, m.objects, m.kubeconfig = serveNodesApart(t, m.dir)
	return m
}

// configure writes kube-proxy's configuration to the cluster, as kubeadm does, and returns it
// as a file.
func (m *migration) configure(t *testing.T, mode, node string) string {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %s
hostnameOverride: %s
clusterCIDR: 10.244.0.0/16
clientConnection: {kubeconfig: %s}
conntrack: {maxPerCore: 0, min: 0}
`, mode, node, m.kubeconfig)
	eventually(t, func() error {
		_, err := m.server.Client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
		return err
	})
	maps := m.server.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	need(maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy"}, Data: map[string]string{"config.conf": text}}, metav1.CreateOptions{}))(t)
	lasting := context.WithoutCancel(t.Context())
	t.Cleanup(func() { check(t, maps.Delete(lasting, "kube-proxy", metav1.DeleteOptions{})) })
	path := filepath.Join(t.TempDir(), "config.conf")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// says fails the test unless the page has a command that the test runs.
func (m *migration) says(t *testing.T, command string) {
	t.Helper()
	if !strings.Contains(m.page, command) {
		t.Errorf("%s does not say %q", howToMigrate, command)
	}
}

// load is connections that are made all the time, and one that was there before.
type load struct {
	service, nodePort *traffic.Stream
	conversation      *traffic.Conversation
}

func startLoad(t *testing.T, at *place, service, nodePort string) *load {
	t.Helper()
	return &load{
		conversation: need(traffic.Converse(at.client, service))(t),
		service:      traffic.Start(at.client, service, 2*time.Millisecond),
		nodePort:     traffic.Start(at.client, nodePort, 2*time.Millisecond),
	}
}

// endures checks that the old connection goes on.
func (l *load) endures(t *testing.T, after string) {
	t.Helper()
	if err := l.conversation.Say(); err != nil {
		t.Fatalf("the old connection after %s: %v", after, err)
	}
}

// end checks that all have succeeded.
func (l *load) end(t *testing.T) {
	t.Helper()
	const enough = 200
	for what, stream := range map[string]*traffic.Stream{"the ClusterIP": l.service, "the node port": l.nodePort} {
		result := stream.Stop()
		t.Logf("to %s: %s", what, result)
		if len(result.Failures) > 0 || result.Connections < enough {
			t.Errorf("to %s: %s, of at least %d", what, result, enough)
		}
	}
}

func (m *migration) follow(t *testing.T, mode, ip string) {
	at := newPlace(t, "was-"+mode, ip)
	at.register(t, m.objects)
	web := need(m.objects.CreateService(t.Context(), "web-"+mode, corev1.ServiceTypeNodePort))(t)
	clusterIP, nodePort := web.Spec.ClusterIP+":80", fmt.Sprintf("%s:%d", ip, web.Spec.Ports[0].NodePort)
	// moves writes an endpoint, and waits until connections go there.
	moves := func(to *lab.Host) {
		t.Helper()
		check(t, m.objects.SetEndpoints(t.Context(), web.Name, to.IP))
		for _, address := range []string{clusterIP, nodePort} {
			eventually(t, func() error {
				name, err := traffic.Ask(at.client, address)
				if err == nil && name != to.Name {
					err = fmt.Errorf("%s answers at %s, want %s", name, address, to.Name)
				}
				return err
			})
		}
	}
	config := m.configure(t, mode, at.name)
	kubeProxy := product.StartOn(t, at.node.Host(), product.KubeProxy, "--config", config)
	moves(at.b)
	serves(t, at, "mode of kube-proxy", 10249, "/proxyMode", mode)
	l := startLoad(t, at, clusterIP, nodePort)

	// 1 and 2: look at the configuration, and take it over.
	const imports = "config import --from-cluster"
	m.says(t, "portolan "+imports)
	m.says(t, "portolan "+imports+" -w portolan.yaml")
	file := filepath.Join(t.TempDir(), "portolan.yaml")
	need(product.Run(t.Context(), "portolan", append(strings.Fields(imports), "--kubeconfig", m.server.Kubeconfig, "-w", file)...))(t)

	// 3 and 4: install it beside, until every node is Synced.
	agents, admin := fmt.Sprintf("%s:%d", lab.Hub, migrationPort), fmt.Sprintf("127.0.0.1:%d", migrationPort+1)
	product.Start(t, "portolan-controlplane", "--kubeconfig", m.server.Kubeconfig, "--config", file, "--listen", agents, "--insecure", "--admin-listen", admin, "--metrics-listen=")
	agent := product.StartOn(t, at.node.Host(), "portolan-agent", "--node", at.name, "--server", agents, "--insecure", "--checkpoint-file", "")
	m.says(t, "portolan get nodes")
	eventually(t, func() error {
		text, err := product.Run(t.Context(), "portolan", "get", "nodes", "--server", admin)
		if err == nil && !nodeIs(text, at.name, "Synced") {
			err = fmt.Errorf("%s is not Synced:\n%s", at.name, text)
		}
		return err
	})
	for _, port := range []string{"10256", "10249"} {
		if logged := need(agent.Log())(t); !strings.Contains(logged, port) {
			t.Errorf("the agent does not say that port %s is taken:\n%s", port, logged)
		}
	}
	l.endures(t, "the agent has come")
	moves(at.c)
	moves(at.b)

	// 5: take kube-proxy away, and what it left.
	kubeProxy.Kill()
	l.endures(t, "kube-proxy has gone")
	m.says(t, "kube-proxy --cleanup")
	need(product.RunOn(t.Context(), at.node.Host(), product.KubeProxy, "--cleanup"))(t)
	leftovers(t, at)
	l.endures(t, "kube-proxy's rules have gone")
	moves(at.c)
	moves(at.b)
	serves(t, at, "the agent's mode", 10249, "/proxyMode", "nftables")
	serves(t, at, "the agent's health", 10256, "/healthz", "")
	l.endures(t, "changes")

	// Back: kube-proxy first, then Portolan goes.
	kubeProxy = product.StartOn(t, at.node.Host(), product.KubeProxy, "--config", config)
	ruled(t, at, mode)
	l.endures(t, "kube-proxy has come back")
	agent.Kill()
	m.says(t, "portolan-agent cleanup")
	need(product.RunOn(t.Context(), at.node.Host(), "portolan-agent", "cleanup"))(t)
	if tables := need(product.RunOn(t.Context(), at.node.Host(), "nft", "list", "tables"))(t); strings.Contains(tables, "portolan") {
		t.Errorf("after portolan-agent cleanup there are tables:\n%s", tables)
	}
	l.endures(t, "Portolan's rules have gone")
	moves(at.c)
	serves(t, at, "the mode of kube-proxy that is back", 10249, "/proxyMode", mode)
	l.endures(t, "all")
	l.end(t)
	kubeProxy.Kill()
}

// nodeIs tells whether the table has a line of a node in a state.
func nodeIs(table, node, state string) bool {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, node+" ") && strings.Contains(line, " "+state+" ") {
			return true
		}
	}
	return false
}

// serves waits until a port of the node's loopback answers with a text.
func serves(t *testing.T, at *place, what string, port int, path, want string) {
	t.Helper()
	eventually(t, func() error {
		status, text, err := at.node.Host().Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path), soon)
		if err == nil && (status != 200 || !strings.Contains(text, want)) {
			err = fmt.Errorf("%d %s, want %q", status, text, want)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		return err
	})
}

// rules returns kube-proxy's on the node, of either kind.
func rules(t *testing.T, at *place) (nftables, iptables bool) {
	t.Helper()
	tables := need(product.RunOn(t.Context(), at.node.Host(), "nft", "list", "tables"))(t)
	chains := need(product.RunOn(t.Context(), at.node.Host(), "iptables-save", "-t", "nat"))(t)
	return strings.Contains(tables, "kube-proxy"), strings.Contains(chains, "KUBE-SVC-")
}

// leftovers fails the test if kube-proxy has rules.
func leftovers(t *testing.T, at *place) {
	t.Helper()
	if nftables, iptables := rules(t, at); nftables || iptables {
		t.Errorf("kube-proxy --cleanup has left rules of nftables: %v, of iptables: %v", nftables, iptables)
	}
}

// ruled waits until kube-proxy has its rules.
func ruled(t *testing.T, at *place, mode string) {
	t.Helper()
	eventually(t, func() error {
		if nftables, iptables := rules(t, at); nftables != (mode == "nftables") || iptables != (mode == "iptables") {
			return fmt.Errorf("kube-proxy in mode %s has rules of nftables: %v, of iptables: %v", mode, nftables, iptables)
		}
		return nil
	})
}
