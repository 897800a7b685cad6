package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/report"
)

// lab is the running cluster.
type lab struct {
	*topology
	*report.Report
	// directory has the manifests, logs, checkpoints and the admin socket.
	directory    string
	controlPlane *process
	asking       *ask.Client
	// fullSync is what the nodes said after their first transaction.
	fullSync map[string]*introspectionv1.NodeStatus
	// load is the traffic while things break; nil before.
	load *load
}

func newLab(directory string, r *report.Report) (*lab, error) {
	l := &lab{topology: newTopology(), Report: r, directory: directory}
	for _, name := range []string{l.manifests(), l.path("logs"), l.path("state")} {
		const private = 0o700
		if err := os.MkdirAll(name, private); err != nil {
			return nil, fmt.Errorf("making a directory for the demo: %w", err)
		}
	}
	client, err := (&ask.Flags{Server: l.admin()}).Connect()
	l.asking = client
	return l, err
}

func (l *lab) path(name string) string { return filepath.Join(l.directory, name) }
func (l *lab) manifests() string       { return l.path("manifests") }
func (l *lab) admin() string           { return "unix:" + l.path("admin.sock") }

func (l *lab) startControlPlane() (err error) {
	l.controlPlane, err = start("the control plane", l.control, l.path("logs/control-plane.log"), "demo", "controlplane",
		"--manifests", l.manifests(), "--listen", net.JoinHostPort(controlAddress, controlPort), "--insecure",
		"--admin-listen", l.admin(), "--metrics-listen", "127.0.0.1:9442")
	return err
}

func (l *lab) startAgent(n *node) (err error) {
	n.agent, err = start("the agent of "+n.name, n.namespace, l.path("logs/"+n.name+".log"), "demo", "agent",
		"--node", n.name, "--server", net.JoinHostPort(controlAddress, controlPort), "--insecure",
		"--checkpoint-file", l.path("state/"+n.name))
	return err
}

// close ends all processes. The namespaces vanish with the last of them.
func (l *lab) close() {
	for _, n := range l.nodes {
		if n.agent != nil {
			n.agent.kill()
		}
	}
	if l.controlPlane != nil {
		l.controlPlane.kill()
	}
	_ = l.asking.Close()
}

// check returns an error if a process has ended by itself.
func (l *lab) check() error {
	errs := []error{l.controlPlane.check()}
	for _, n := range l.nodes {
		if n.agent != nil {
			errs = append(errs, n.agent.check())
		}
	}
	return errors.Join(errs...)
}

// status is what the control plane says of the nodes.
type status struct {
	revision uint64
	nodes    map[string]*introspectionv1.NodeStatus
}

func (l *lab) status(ctx context.Context) (status, error) {
	response, err := l.asking.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
	if err != nil {
		return status{}, l.asking.Explain(err)
	}
	s := status{revision: response.GetRevision(), nodes: map[string]*introspectionv1.NodeStatus{}}
	for _, n := range response.GetNodes() {
		s.nodes[n.GetNode()] = n
	}
	return s, nil
}

// waitTime is how long anything may take that the demo waits for.
const waitTime = 15 * time.Second

// await asks until all nodes have applied a revision that is newer than the given one.
func (l *lab) await(ctx context.Context, after uint64) (status, error) {
	return l.poll(ctx, fmt.Sprintf("all nodes to apply a revision after %d", after), func(s status) bool {
		return s.revision > after && s.allSynced(len(l.nodes))
	})
}

// awaitControlPlane asks until the control plane has read everything.
func (l *lab) awaitControlPlane(ctx context.Context) error {
	_, err := l.poll(ctx, "the control plane to read the manifests", func(s status) bool { return s.revision > 0 })
	return err
}

func (l *lab) poll(ctx context.Context, what string, done func(status) bool) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	const pollEvery = 2 * time.Millisecond
	for {
		s, err := l.status(ctx)
		if err == nil && done(s) {
			return s, nil
		}
		if err := l.check(); err != nil {
			return status{}, err
		}
		select {
		case <-ctx.Done():
			return status{}, errors.Join(fmt.Errorf("waited in vain for %s: %s", what, s), err)
		case <-time.After(pollEvery):
		}
	}
}

func (s status) allSynced(count int) bool {
	for _, n := range s.nodes {
		if n.GetState() != introspectionv1.SyncState_SYNC_STATE_SYNCED {
			return false
		}
	}
	return len(s.nodes) == count
}

// String says how far the nodes are.
func (s status) String() string {
	text := fmt.Sprintf("the control plane is at revision %d", s.revision)
	for name, n := range s.nodes {
		text += fmt.Sprintf("; %s %s %d %s", name, n.GetState(), n.GetAckedRevision(), n.GetLastError())
	}
	return text
}
