package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

// kubeadms is a file as kubeadm and its users write it.
const kubeadms = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16
conntrack: {maxPerCore: 32768, min: 131072, tcpCloseWaitTimeout: 1h0m0s, tcpEstablishedTimeout: 24h0m0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
healthzBindAddress: ""
hostnameOverride: ""
ipvs: {scheduler: wlc, syncPeriod: 40s, minSyncPeriod: 2s, strictARP: true, tcpTimeout: 900s, tcpFinTimeout: 120s, udpTimeout: 300s}
metricsBindAddress: ""
mode: ipvs
nodePortAddresses: null
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
`

// TestTheConfigurationOfACluster is read from it as it is, and its nodes are configured by
// their labels, while everything runs.
func TestTheConfigurationOfACluster(t *testing.T) {
	g := newGuarded(t)
	maps := g.server.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	imports := func(kubeconfig string, args ...string) string {
		return product.Everything(t.Context(), "portolan", append([]string{"config", "import", "--from-cluster", "--kubeconfig", kubeconfig}, args...)...)
	}
	says := func(got string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("got %s\nwant %q", got, want)
			}
		}
	}
	// The API server makes kube-system when it starts, or soon after.
	eventually(t, func() error {
		_, err := g.server.Client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
		return err
	})
	says(imports(g.server.Kubeconfig), "the cluster has no ConfigMap kube-system/kube-proxy", "import kube-proxy's file or flags instead")
	object := need(maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy"}, Data: map[string]string{"kubeconfig.conf": "x"}}, metav1.CreateOptions{}))(t)
	write := func(text string) {
		t.Helper()
		object.Data["config.conf"] = text
		object = need(maps.Update(t.Context(), object, metav1.UpdateOptions{}))(t)
	}
	says(imports(g.server.Kubeconfig), `ConfigMap kube-system/kube-proxy: expected a key "config.conf"; it has ["kubeconfig.conf"]`)
	write(strings.Replace(kubeadms, "strictARP", "strictArp", 1))
	says(imports(g.server.Kubeconfig), "ConfigMap kube-system/kube-proxy, config.conf: line 10: ipvs.strictArp: unknown field; did you mean \"strictARP\"?")
	write(kubeadms)
	powerless := filepath.Join(g.dir, "nobody")
	check(t, g.server.WriteKubeconfigAs(g.token("nobody", "", nil), powerless))
	says(imports(powerless), "reading ConfigMap kube-system/kube-proxy", `cannot get resource "configmaps"`, `namespace "kube-system"`)

	file := filepath.Join(g.dir, "portolan.yaml")
	says(imports(g.server.Kubeconfig, "-w", file), "ipvs.scheduler", "honoured", "sync.period: 40s", "mapped", "wrote "+file)
	written := string(need(os.ReadFile(file))(t))
	says(written, "mode: ipvs", "scheduler: wlc", "strictARP: true", "tcpTimeout: 15m", "maxPerCore: 32768")

	groups := written + `
nodes:
- name: gpu
  selector: {matchLabels: {accelerator: nvidia}}
  mode: nftables
`
	check(t, os.WriteFile(file, []byte(groups), 0o600))
	g.start("--agent-auth", "token", "--config", file)
	token := filepath.Join(g.dir, "agents-token")
	check(t, os.WriteFile(token, []byte(g.agentsToken("node-a")), 0o600))
	product.Start(t, "portolan-agent", "--node", "node-a", "--server", fmt.Sprintf("127.0.0.1:%d", identityPort), "--checkpoint-file", "",
		"--tls-ca-file", g.authority.CA, "--token-file", token)
	shows := func(wants ...string) {
		t.Helper()
		eventually(t, func() error {
			got := product.Everything(t.Context(), "portolan", "get", "nodes", "-o", "wide", "--server", fmt.Sprintf("127.0.0.1:%d", identityPort+1))
			for line := range strings.Lines(got) {
				missing := false
				for _, want := range wants {
					missing = missing || !strings.Contains(line, want)
				}
				if !missing {
					return nil
				}
			}
			return fmt.Errorf("want a line with %q:\n%s", wants, got)
		})
	}
	if lab.HasIPVS() {
		shows("node-a", "ipvs", "Synced")
	} else {
		// The node says what it lacks, and serves by what it has.
		shows("node-a", "ipvs", "Rejected", "the kernel has no IPVS")
	}
	shows("node-b", "ipvs")
	label := func(node, value string) {
		t.Helper()
		patch := fmt.Sprintf(`{"metadata":{"labels":{"accelerator":%s}}}`, value)
		need(g.server.Client.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, []byte(patch), metav1.PatchOptions{}))(t)
	}
	label("node-a", `"nvidia"`)
	shows("node-a", "nftables", "gpu", "Synced")
	shows("node-b", "ipvs")
	label("node-a", "null")
	shows("node-a", "ipvs")
}
