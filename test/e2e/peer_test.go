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

// defaultMinSync is how long kube-proxy rests after it has followed a change.
const defaultMinSync = time.Second

// peerServices is the ServiceCIDR: kube-proxy drops what goes to addresses in it that
// no Service has, so nothing else may be there.
const peerServices = "10.96.0.0/16"

// BenchmarkKubeProxy compares Portolan with kube-proxy, the program, as followers of
// one API server: how soon packets go where a write sends them, and what that costs.
// Each has a node apart. They take turns, of which each begins with new processes, so
// that nobody works on another's change. It takes the machine's root: kube-proxy sends
// all rules at once, and nft then wants a larger buffer than others can have.
func BenchmarkKubeProxy(b *testing.B) {
	if err := lab.CanForceBuffers(); err != nil {
		b.Skipf("kube-proxy could not send its rules: %v", err)
	}
	a := newArena(b)
	a.compare(b, 1000, 2, 15, func(b *testing.B) []*party {
		return []*party{
			a.portolan(b, "ours", a.checkpoint),
			a.kubeProxy(b, "kube-proxy", defaultMinSync),
			a.kubeProxy(b, "kube-proxy-eager", time.Millisecond),
		}
	})
	a.compare(b, 5000, 2, 5, func(b *testing.B) []*party {
		return []*party{
			a.portolan(b, "ours", a.checkpoint),
			a.portolan(b, "ours-unsaved", ""),
			a.kubeProxy(b, "kube-proxy", defaultMinSync),
		}
	})
}

// compare lets parties take turns, each with so many changes among so many Services.
func (a *arena) compare(b *testing.B, services, turns, changes int, enter func(*testing.B) []*party) {
	b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
		check(b, a.objects.Fill(b.Context(), a.filled, services))
		a.filled = services
		parties := enter(b)
		for b.Loop() {
			for range turns {
				for _, p := range parties {
					p.turn(b, a.web, changes)
				}
			}
		}
		for _, p := range parties {
			p.report(b)
		}
	})
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
		checkpoint: filepath.Join(dir, "checkpoint"),
	}
	a.server, a.objects, a.kubeconfig = serveNodesApart(b, dir)
	a.ours.register(b, a.objects)
	a.peer.register(b, a.objects)
	a.web = newShuttle(b, a.objects, a.ours)
	return a
}

// portolan is a control plane beside the API server, and an agent. It would follow
// changes as fast as they come; the pause is that of kube-proxy, so that what either
// does while nothing changes weighs the same.
func (a *arena) portolan(b *testing.B, name, checkpoint string) *party {
	const port = ":9440"
	config := a.configure(b, a.ours, defaultMinSync)
	return &party{name: name, pause: pauseAfter(defaultMinSync), at: a.ours, start: func() map[string]*product.Process {
		return map[string]*product.Process{
			"controlplane": product.Start(b, "portolan-controlplane", "--kubeconfig", a.server.Kubeconfig, "--config", config,
				"--listen", lab.Hub+port, "--insecure", "--admin-listen=", "--metrics-listen="),
			"agent": product.StartOn(b, a.ours.node.Host(), "portolan-agent", "--node", a.ours.name,
				"--server", lab.Hub+port, "--insecure", "--checkpoint-file", checkpoint),
		}
	}}
}

func (a *arena) kubeProxy(b *testing.B, name string, minSyncPeriod time.Duration) *party {
	config := a.configure(b, a.peer, minSyncPeriod)
	return &party{name: name, pause: pauseAfter(minSyncPeriod), at: a.peer, start: func() map[string]*product.Process {
		return map[string]*product.Process{"": product.StartOn(b, a.peer.node.Host(), product.KubeProxy, "--config", config)}
	}}
}

// pauseAfter returns a pause between changes after which kube-proxy follows the next
// one at once: its rate limit is not what is compared.
func pauseAfter(minSyncPeriod time.Duration) time.Duration {
	return minSyncPeriod + 100*time.Millisecond
}

// configure writes the configuration of a place, which is kube-proxy's defaults but
// for minSyncPeriod, and for the table of connections: its size is the machine's.
func (a *arena) configure(b *testing.B, at *place, minSyncPeriod time.Duration) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "config.yaml")
	check(b, os.WriteFile(path, fmt.Appendf(nil, `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clientConnection: {kubeconfig: %s}
nftables: {minSyncPeriod: %s}
conntrack: {maxPerCore: 0, min: 0}
`, at.name, a.kubeconfig, minSyncPeriod), 0o600))
	return path
}
