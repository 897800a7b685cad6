package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portolan-net/portolan/agent/internal/metrics"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

const established = "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"

// tree makes a root with one setting of the kernel's.
func tree(t *testing.T) sysctl.Tree {
	t.Helper()
	root := t.TempDir()
	file := filepath.Join(root, established)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("432000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return sysctl.Tree{Root: root, CPUs: 4}
}

func hours(n int) *discoveryv1.Conntrack {
	return &discoveryv1.Conntrack{TcpEstablishedTimeout: durationpb.New(time.Duration(n) * time.Hour)}
}

// checkpoint writes one that says n hours.
func checkpoint(t *testing.T, n int) string {
	t.Helper()
	held := state.New()
	held.Apply(slices.Values([]*discoveryv1.Resource{nodeConfig(hours(n))}), nil)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if _, err := held.Snapshot(state.Checkpoint{Node: "node-a"}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInitSetsWhatTheControlPlaneSaysAndAcknowledgesNothing(t *testing.T) {
	c := newControlPlane(nodeConfig(hours(24)))
	config := serve(t, c)
	config.CheckpointPath = checkpoint(t, 1)
	at := tree(t)
	line, err := initialize(t.Context(), config, time.Minute, at)
	if want := "set nf_conntrack_tcp_timeout_established=86400 (was 432000), as the control plane says"; err != nil || line != want {
		t.Errorf("%q, %v; want %q", line, err, want)
	}
	if content, _ := os.ReadFile(filepath.Join(at.Root, established)); string(content) != "86400" {
		t.Errorf("set to %q", content)
	}
	request := <-c.requests
	if kinds := request.GetSubscribe().GetKinds(); !slices.Equal(kinds, []discoveryv1.Kind{discoveryv1.Kind_KIND_NODE_CONFIG}) {
		t.Errorf("subscribed to %v", kinds)
	}
	<-c.ended
	if len(c.requests) > 0 {
		t.Errorf("sent %v: an acknowledgement would take over the stream of the node's agent", <-c.requests)
	}
}

// TestInitWithoutAControlPlane in fake time.
func TestInitWithoutAControlPlane(t *testing.T) {
	tests := map[string]struct {
		checkpoint func(t *testing.T) string
		want       string
		wantErr    string
	}{
		"uses the checkpoint": {func(t *testing.T) string { return checkpoint(t, 1) },
			"set nf_conntrack_tcp_timeout_established=3600 (was 432000), as the checkpoint says", ""},
		"is an error if there is none": {func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }, "",
			`no control plane has had a configuration for node "node-a" within 30s (last error: `},
		"is an error if the agent keeps none": {func(*testing.T) string { return "" }, "", "--checkpoint-file is empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path, at := test.checkpoint(t), tree(t)
			synctest.Test(t, func(t *testing.T) {
				config := Config{Node: "node-a", Servers: []string{"192.0.2.1:9440"}, CheckpointPath: path, Logger: hclog.NewNullLogger(), DialOptions: []grpc.DialOption{
					grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") }),
				}}
				begun := time.Now()
				line, err := initialize(t.Context(), config, 30*time.Second, at)
				if line != test.want || (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("%q, %v; want %q, %q", line, err, test.want, test.wantErr)
				}
				if waited := time.Since(begun); waited != 30*time.Second {
					t.Errorf("waited %s for a control plane, want the timeout", waited)
				}
			})
		})
	}
}

func TestInitFailsWhereASettingCannotBeMade(t *testing.T) {
	config := serve(t, newControlPlane(nodeConfig(hours(24))))
	line, err := initialize(t.Context(), config, time.Minute, sysctl.Tree{Root: t.TempDir()})
	if line != "" || err == nil || !strings.Contains(err.Error(), established+" to 86400") {
		t.Errorf("%q, %v; want an error that names file and value", line, err)
	}
}

func TestInitSaysWhyAConfigurationCannotBeUsed(t *testing.T) {
	broken := nodeConfig(nil)
	broken.GetNodeConfig().MasqueradeBit = 99
	config := serve(t, newControlPlane(broken))
	config.CheckpointPath = checkpoint(t, 1)
	if line, err := initialize(t.Context(), config, time.Minute, tree(t)); err == nil || !strings.Contains(err.Error(), "masquerade_bit 99") {
		t.Errorf("%q, %v; want the reason: a checkpoint must not hide it", line, err)
	}
}

// TestASettingThatCannotBeMadeIsCounted in the running agent, which goes on.
func TestASettingThatCannotBeMadeIsCounted(t *testing.T) {
	observed := metrics.New(metrics.Config{Status: func() subscribe.Status { return subscribe.Status{} }, Now: time.Now})
	failures := func() float64 {
		t.Helper()
		families, err := observed.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "portolan_agent_sysctl_failures" {
				return family.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	if err := setSysctls(sysctl.Tree{Root: t.TempDir()}, observed)(hours(24)); err == nil || failures() != 1 {
		t.Errorf("error %v and %v failures, want one", err, failures())
	}
	if err := setSysctls(tree(t), observed)(hours(24)); err != nil || failures() != 0 {
		t.Errorf("error %v and %v failures, want none once it could be made", err, failures())
	}
}
