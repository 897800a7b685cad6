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
	"sigs.k8s.io/yaml"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
)

var liveWorlds = newPool(func(l *lab.Lab) (proxy, error) { return newLive(l) })

// live is a node with an agent, in a cluster with a control plane.
type live struct {
	lab *lab.Lab
	// directory has the manifests, sockets and logs.
	directory string
	admin     introspectionv1.IntrospectionServiceClient
	// edits counts what was written, and names the Node that shows that it was read.
	edits int
	// addresses is how many addresses of its own the node had.
	addresses    int
	controlPlane *lab.Process
	agent        *lab.Process
	// flags are the control plane's, beside those that it always has.
	flags []string
}

// convergence is how long a change may take to come into force.
const convergence = 20 * time.Second

func newLive(l *lab.Lab, flags ...string) (*live, error) {
	directory, err := os.MkdirTemp(os.Getenv(workDirectory), "live-")
	if err != nil {
		return nil, err
	}
	v := &live{lab: l, directory: directory, addresses: len(l.LocalAddresses), flags: flags}
	if err := os.Mkdir(v.path("manifests"), 0o700); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+v.path("admin.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	v.admin = introspectionv1.NewIntrospectionServiceClient(conn)
	return v, v.startAgent()
}

func (v *live) startAgent() (err error) {
	v.agent, err = v.start("portolan-agent", "--node", node, "--server", "unix:"+v.path("agents.sock"), "--insecure",
		"--checkpoint-file", v.path("checkpoint"), "--log-level", "debug")
	return err
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
	documents := [][]byte{fmt.Appendf(nil, "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n", v.marker())}
	for _, name := range slices.Sorted(maps.Keys(step.Manifests)) {
		documents = append(documents, step.Manifests[name])
	}
	if err := v.configure(step); err != nil {
		t.Fatal(err)
	}
	if err := v.replace("manifests/all.yaml", bytes.Join(documents, []byte("\n---\n"))); err != nil {
		t.Fatal(err)
	}
	v.enforceAgain(t)
	if v.addresses != len(v.lab.LocalAddresses) {
		// The kernel tells the agent, and nobody tells us.
		time.Sleep(aMoment)
	}
	v.addresses = len(v.lab.LocalAddresses)
}

// configure has the control plane follow another configuration, which says when it was
// written: by the sync period, which decides about no packet.
func (v *live) configure(step *scenario.Step) error {
	var content map[string]any
	if err := yaml.Unmarshal(step.Proxy, &content); err != nil {
		return err
	}
	for _, mode := range []string{"nftables", "ipvs"} {
		section, _ := content[mode].(map[string]any)
		if section == nil {
			section = map[string]any{}
			content[mode] = section
		}
		section["syncPeriod"] = v.period().String()
	}
	text, err := yaml.Marshal(content)
	if err != nil {
		return err
	}
	if err := v.replace("proxy.yaml", text); err != nil || v.controlPlane != nil {
		return err
	}
	v.controlPlane, err = v.start("portolan-controlplane", append([]string{"--manifests", v.path("manifests"), "--config", v.path("proxy.yaml"),
		"--listen", "unix:" + v.path("agents.sock"), "--admin-listen", "unix:" + v.path("admin.sock"), "--metrics-listen", ""}, v.flags...)...)
	return err
}

// marker is the name of a Node that the manifests have since the last edit.
func (v *live) marker() string { return fmt.Sprintf("edit-%d", v.edits) }

// period is the sync period of the present configuration.
func (v *live) period() time.Duration {
	return 30*time.Second + time.Duration(v.edits)*time.Millisecond
}

// wait returns once the node has acknowledged a revision that has the marker, with the
// present configuration.
func (v *live) wait(ctx context.Context) error {
	for {
		var nodes *introspectionv1.ListNodesResponse
		view, err := v.admin.GetView(ctx, &introspectionv1.GetViewRequest{Node: v.marker()})
		if err == nil && view.GetNodeConfig().GetSyncPeriod().AsDuration() == v.period() {
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

// stop ends the programs.
func (v *live) stop() {
	v.agent.Kill()
	if v.controlPlane != nil {
		v.controlPlane.Kill()
	}
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
