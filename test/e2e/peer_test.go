package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

// peerServices is the ServiceCIDR: kube-proxy drops what goes to addresses in it that
// no Service has, so nothing else may be there.
const peerServices = "10.96.0.0/16"

// BenchmarkKubeProxy compares Portolan with kube-proxy, the program, as followers of
// one API server: how soon packets go where a write sends them, and what that costs.
// Each has a node apart. They take turns, of which each begins with a new process, so
// that nobody works on another's change.
func BenchmarkKubeProxy(b *testing.B) {
	a := newArena(b)
	for _, size := range []struct{ services, rounds, changes int }{{1000, 3, 10}, {5000, 2, 5}} {
		check(b, a.objects.Fill(b.Context(), a.filled, size.services))
		a.filled = size.services
		b.Run(fmt.Sprintf("services=%d", size.services), func(b *testing.B) {
			parties := []*party{a.portolan(b), a.kubeProxy(b, "kube-proxy", time.Second), a.kubeProxy(b, "kube-proxy-eager", time.Millisecond)}
			for b.Loop() {
				for range size.rounds {
					for _, p := range parties {
						p.turn(b, a, size.changes)
					}
				}
			}
			for _, p := range parties {
				p.report(b)
			}
		})
	}
}

// arena is an API server with a Service whose endpoint changes, among others, and a
// node for each way to follow it.
type arena struct {
	server     *apiserver.Server
	objects    *cluster.Cluster
	web        *shuttle
	ours, peer *place
	// checkpoint is the file of our agent, kubeconfig that of programs on nodes.
	checkpoint, kubeconfig string
	// filled is how many Services there are beside the one that changes.
	filled int
}

func newArena(b *testing.B) *arena {
	b.Helper()
	dir := b.TempDir()
	a := &arena{
		ours: newPlace(b, "ours", "192.168.78.11"), peer: newPlace(b, "peer", "192.168.78.12"),
		checkpoint: filepath.Join(dir, "checkpoint"), kubeconfig: filepath.Join(dir, "nodes-kubeconfig"),
	}
	a.server = need(apiserver.Start(b.Context(), dir, "--request-timeout=3s", "--bind-address=0.0.0.0", "--service-cluster-ip-range="+peerServices))(b)
	b.Cleanup(a.server.Stop)
	check(b, a.server.WriteKubeconfigFor(lab.Hub, a.kubeconfig))
	a.objects = need(cluster.New(b.Context(), a.server.Client, "e2e"))(b)
	a.ours.register(b, a.objects)
	a.peer.register(b, a.objects)
	a.web = newShuttle(b, a.objects, a.ours)
	return a
}

// portolan is a control plane beside the API server, and an agent. It could have
// changes as fast as they come; the pause is that of kube-proxy, so that what either
// does while nothing changes weighs the same.
func (a *arena) portolan(b *testing.B) *party {
	return &party{name: "ours", pause: afterMinSync, at: a.ours, start: func() map[string]*product.Process {
		const port = ":9440"
		return map[string]*product.Process{
			"controlplane": product.Start(b, "portolan-controlplane", "--kubeconfig", a.server.Kubeconfig,
				"--listen", lab.Hub+port, "--insecure", "--admin-listen=", "--metrics-listen="),
			"agent": product.StartOn(b, a.ours.node.Host(), "portolan-agent", "--node", a.ours.name,
				"--server", lab.Hub+port, "--insecure", "--checkpoint-file", a.checkpoint),
		}
	}}
}

// kubeProxy is kube-proxy with its defaults but for minSyncPeriod, and for connection
// tracking, whose settings are not a network namespace's to make.
func (a *arena) kubeProxy(b *testing.B, name string, minSyncPeriod time.Duration) *party {
	config := filepath.Join(b.TempDir(), name+".yaml")
	check(b, os.WriteFile(config, fmt.Appendf(nil, `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clientConnection: {kubeconfig: %s}
nftables: {minSyncPeriod: %s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, a.peer.name, a.kubeconfig, minSyncPeriod), 0o600))
	return &party{name: name, pause: minSyncPeriod + 100*time.Millisecond, at: a.peer, start: func() map[string]*product.Process {
		return map[string]*product.Process{"": product.StartOn(b, a.peer.node.Host(), product.KubeProxy, "--config", config)}
	}}
}
