package conformance

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
)

var liveWorlds = newPool(newLive)

// live is a node with an agent, in a cluster with a control plane.
type live struct {
	lab *lab.Lab
	// directory has the manifests, sockets and logs.
	directory string
	admin     introspectionv1.IntrospectionServiceClient
	// edits counts what was written, and names the Node that shows that it was read.
	edits int
	proxy []byte
	// addresses is how many addresses of its own the node had.
	addresses    int
	controlPlane *lab.Process
	agent        *lab.Process
}

// convergence is how long a change may take to come into force.
const convergence = 20 * time.Second

func newLive(l *lab.Lab) (proxy, error) {
	directory, err := os.MkdirTemp(os.Getenv(workDirectory), "live-")
	if err != nil {
		return nil, err
	}
	v := &live{lab: l, directory: directory, addresses: len(l.LocalAddresses)}
	if err := os.Mkdir(v.path("manifests"), 0o700); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+v.path("admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	v.admin = introspectionv1.NewIntrospectionServiceClient(conn)
	v.agent, err = v.start("portolan-agent", "--node", node, "--server", "unix:"+v.path("agents.sock"), "--insecure",
		"--checkpoint-file", v.path("checkpoint"), "--log-level", "debug")
	return v, err
}

func (v *live) path(name string) string { return filepath.Join(v.directory, name) }

// start starts a program on the node; what it logs goes to a file.
func (v *live) start(name string, args ...string) (*lab.Process, error) {
	log, err := os.OpenFile(v.path(name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return v.lab.Node.Start(log, program(name), args...)
}

// replace writes a file at once.
func (v *live) replace(name string, content []byte) error {
	unfinished := v.path("unfinished")
	if err := os.WriteFile(unfinished, content, 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, v.path(name))
}

func (v *live) enforce(t *testing.T, step *scenario.Step) {
	t.Helper()
	v.edits++
	marker := fmt.Sprintf("edit-%d", v.edits)
	documents := [][]byte{fmt.Appendf(nil, "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n", marker)}
	for _, name := range slices.Sorted(maps.Keys(step.Manifests)) {
		documents = append(documents, step.Manifests[name])
	}
	if err := v.configure(step); err != nil {
		t.Fatal(err)
	}
	if err := v.replace("manifests/all.yaml", bytes.Join(documents, []byte("\n---\n"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), convergence)
	defer cancel()
	if err := v.wait(ctx, marker); err != nil {
		t.Fatalf("step %d: %v\n%s", step.Number, err, v.logs())
	}
	if v.addresses != len(v.lab.LocalAddresses) {
		// The kernel tells the agent, and nobody tells us.
		time.Sleep(aMoment)
	}
	v.addresses = len(v.lab.LocalAddresses)
}

// configure starts the control plane anew if it is to have another configuration.
func (v *live) configure(step *scenario.Step) error {
	if bytes.Equal(v.proxy, step.Proxy) {
		return nil
	}
	v.proxy = step.Proxy
	if v.controlPlane != nil {
		v.controlPlane.Kill()
	}
	if err := v.replace("proxy.yaml", step.Proxy); err != nil {
		return err
	}
	var err error
	v.controlPlane, err = v.start("portolan-controlplane", "--manifests", v.path("manifests"), "--config", v.path("proxy.yaml"),
		"--listen", "unix:"+v.path("agents.sock"), "--admin-listen", "unix:"+v.path("admin.sock"), "--metrics-listen", "")
	return err
}

// wait returns once the node has acknowledged a revision that has the marker.
func (v *live) wait(ctx context.Context, marker string) error {
	for {
		var nodes *introspectionv1.ListNodesResponse
		view, err := v.admin.GetView(ctx, &introspectionv1.GetViewRequest{Node: marker})
		if err == nil && view.GetNodeConfig() != nil {
			if nodes, err = v.admin.ListNodes(ctx, &introspectionv1.ListNodesRequest{}); err == nil && acknowledged(nodes, view.GetRevision()) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in force after %s: %w; nodes: %v", convergence, err, nodes.GetNodes())
		case <-time.After(pause):
		}
	}
}

func acknowledged(nodes *introspectionv1.ListNodesResponse, revision uint64) bool {
	return slices.ContainsFunc(nodes.GetNodes(), func(n *introspectionv1.NodeStatus) bool {
		return n.GetNode() == node && n.GetState() != introspectionv1.SyncState_SYNC_STATE_DISCONNECTED &&
			n.GetAckedRevision() >= revision && n.GetLastError() == ""
	})
}

// logs returns the ends of what the programs logged.
func (v *live) logs() string {
	const enough = 3000
	var all []byte
	for _, name := range []string{"portolan-controlplane", "portolan-agent"} {
		text, _ := os.ReadFile(v.path(name + ".log"))
		all = fmt.Appendf(all, "%s:\n%s\n", name, text[max(0, len(text)-enough):])
	}
	return string(all)
}
