package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

const (
	nodeName = "node-a"
	// unused is a Service's address that no Service has.
	unused = "198.51.100.250:80"
	// soon is what anything may take on a machine that is busy with other tests.
	soon = 20 * time.Second
)

// world is a node with pods, an API server, two control planes and an agent.
type world struct {
	// test is the whole test: processes that a step starts outlive the step.
	test *testing.T

	server  *apiserver.Server
	objects *cluster.Cluster
	// client is a pod that connects; a, b and c are pods that serve.
	client, a, b, c *lab.Host
	outside         *lab.Host

	replicas   []*replica
	agent      *product.Process
	checkpoint string

	// web is the address of a Service that all steps use, conversation a connection
	// to it.
	web          string
	conversation *traffic.Conversation
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{test: t, checkpoint: filepath.Join(t.TempDir(), "checkpoint")}
	node := need(lab.NewNode())(t)
	w.client = need(node.AddPod("client", "10.244.1.10"))(t)
	w.a = need(node.AddPod("a", "10.244.1.11"))(t)
	w.b = need(node.AddPod("b", "10.244.1.12"))(t)
	w.c = need(node.AddPod("c", "10.244.1.13"))(t)
	w.outside = need(node.AddOutside(apiserver.ServiceCIDR))(t)
	for _, pod := range []*lab.Host{w.a, w.b, w.c} {
		check(t, pod.Serve(cluster.TargetPort))
	}
	check(t, w.outside.Serve(80))
	if name, err := traffic.Ask(w.client, unused); name != w.outside.Name {
		t.Fatalf("without rules %q answers for Services, error %v; want %s", name, err, w.outside.Name)
	}

	// An API server that stops waits this long for those who watch.
	w.server = need(apiserver.Start(t.Context(), t.TempDir(), "--request-timeout=3s"))(t)
	t.Cleanup(w.server.Stop)
	w.objects = need(cluster.New(t.Context(), w.server.Client, "e2e"))(t)
	check(t, w.objects.CreateNode(t.Context(), nodeName, lab.NodeIP, lab.PodCIDR))

	for _, port := range []int{9440, 9450} {
		w.replicas = append(w.replicas, startReplica(t, w.server, "127.0.0.1", port))
	}
	w.startAgent()
	return w
}

func (w *world) startAgent() {
	args := []string{"--node", nodeName, "--checkpoint-file", w.checkpoint, "--service-traffic-period", "1s"}
	for _, r := range w.replicas {
		args = append(args, "--server", r.agents)
	}
	w.agent = product.Start(w.test, "portolan-agent", args...)
}

// connected returns the replicas that say that the agent is connected and holds
// what they serve.
func (w *world) connected(ctx context.Context) []*replica {
	var list []*replica
	for _, r := range w.replicas {
		nodes, err := product.Run(ctx, "portolan", "get", "nodes", "--server", r.admin)
		if err == nil && strings.Contains(nodes, nodeName) && strings.Contains(nodes, "Synced") {
			list = append(list, r)
		}
	}
	return list
}

// answering returns who answers at an address, of many connections.
func (w *world) answering(address string) (names []string, err error) {
	for range 30 {
		name, err := traffic.Ask(w.client, address)
		if err != nil {
			return names, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// expectAnswers waits until exactly the hosts answer.
func (w *world) expectAnswers(t *testing.T, address string, hosts ...*lab.Host) {
	t.Helper()
	var want []string
	for _, host := range hosts {
		want = append(want, host.Name)
	}
	eventually(t, func() error {
		got, err := w.answering(address)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("%v answer, want %v", got, want)
		}
		return err
	})
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isSilence(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
