package e2e_test

import (
	"fmt"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

// place is a node apart with a pod that connects and two that serve. All places have
// the same pods by name and address, so that one write to the API moves traffic in
// each of them.
type place struct {
	name, ip     string
	node         *lab.Node
	client, b, c *lab.Host
}

// newPlace makes a place. The first one also makes the test's namespace usable.
func newPlace(t testing.TB, name, ip string) *place {
	t.Helper()
	p := &place{name: name, ip: ip, node: need(lab.NewNodeApart(name, ip))(t)}
	p.client = need(p.node.AddPod("client", "10.244.1.10"))(t)
	p.b = need(p.node.AddPod("b", "10.244.1.12"))(t)
	p.c = need(p.node.AddPod("c", "10.244.1.13"))(t)
	for _, pod := range []*lab.Host{p.b, p.c} {
		check(t, pod.Serve(cluster.TargetPort))
	}
	return p
}

// register creates the Node.
func (p *place) register(t testing.TB, objects *cluster.Cluster) {
	t.Helper()
	check(t, objects.CreateNode(t.Context(), p.name, p.ip, lab.PodCIDR))
}

// shuttle is a Service whose only endpoint is pod b or pod c of every place.
type shuttle struct {
	objects *cluster.Cluster
	address string
	// at has the endpoint, other is to have it next.
	at, other *lab.Host
}

func newShuttle(t testing.TB, objects *cluster.Cluster, at *place) *shuttle {
	t.Helper()
	service := need(objects.CreateService(t.Context(), "shuttle", corev1.ServiceTypeClusterIP))(t)
	s := &shuttle{objects: objects, address: service.Spec.ClusterIP + ":80", at: at.c, other: at.b}
	s.move(t)
	return s
}

// move writes that the other pod is the endpoint, and returns its name.
func (s *shuttle) move(t testing.TB) string {
	t.Helper()
	s.at, s.other = s.other, s.at
	check(t, s.objects.SetEndpoints(t.Context(), "shuttle", s.at.IP))
	return s.at.Name
}

// reached returns an error unless a place's connections go where the endpoint is.
func (s *shuttle) reached(from *place) error {
	name, err := traffic.Ask(from.client, s.address)
	if err == nil && name != s.at.Name {
		err = fmt.Errorf("%s answers, want %s", name, s.at.Name)
	}
	return err
}

// serveNodesApart starts an API server for kube-proxy and others on nodes apart, with a
// kubeconfig for them.
func serveNodesApart(t testing.TB, dir string) (server *apiserver.Server, objects *cluster.Cluster, kubeconfig string) {
	t.Helper()
	kubeconfig = filepath.Join(dir, "nodes-kubeconfig")
	server = need(apiserver.Start(t.Context(), dir, "--request-timeout=3s", "--bind-address=0.0.0.0", "--service-cluster-ip-range="+peerServices))(t)
	t.Cleanup(server.Stop)
	check(t, server.WriteKubeconfigFor(lab.Hub, kubeconfig))
	return server, need(cluster.New(t.Context(), server.Client, "e2e"))(t), kubeconfig
}
