package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gnft "github.com/google/nftables"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// controlPlane answers every Subscribe with the same transaction, and keeps what it
// is asked and told.
type controlPlane struct {
	discoveryv1.UnimplementedDiscoveryServiceServer
	transaction *discoveryv1.StreamDeltasResponse
	requests    chan *discoveryv1.StreamDeltasRequest
	// ended receives a value when a stream has ended.
	ended chan struct{}
}

func newControlPlane(resources ...*discoveryv1.Resource) *controlPlane {
	transaction := &discoveryv1.StreamDeltasResponse{Nonce: 1, Revision: 1, Resources: resources, Commit: true}
	for _, r := range resources {
		transaction.Digest ^= resource.Mix(resource.NameHash(r.GetName()), r.GetVersion())
	}
	return &controlPlane{transaction: transaction, requests: make(chan *discoveryv1.StreamDeltasRequest, 16), ended: make(chan struct{}, 16)}
}

func (c *controlPlane) StreamDeltas(stream grpc.BidiStreamingServer[discoveryv1.StreamDeltasRequest, discoveryv1.StreamDeltasResponse]) error {
	defer func() { c.ended <- struct{}{} }()
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			<-stream.Context().Done()
		}
		if err != nil {
			return err
		}
		c.requests <- request
		if request.GetSubscribe() == nil {
			continue
		}
		if err := stream.Send(c.transaction); err != nil {
			return err
		}
	}
}

// serve starts a control plane and returns the configuration of an agent of it.
func serve(t *testing.T, c *controlPlane) Config {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	discoveryv1.RegisterDiscoveryServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return Config{
		Node: "node-a", Servers: []string{"unix://" + socket}, Logger: hclog.NewNullLogger(),
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
	}
}

func nodeConfig(conntrack *discoveryv1.Conntrack) *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: "node-a", Version: 1, Body: &discoveryv1.Resource_NodeConfig{
		NodeConfig: &discoveryv1.NodeConfig{NodePortAddresses: []string{"primary"}, MasqueradeBit: 14, Conntrack: conntrack}}}
}

func service() *discoveryv1.Resource {
	return &discoveryv1.Resource{Name: "demo/web", Version: 2, Body: &discoveryv1.Resource_Service{Service: &discoveryv1.Service{
		ClusterIps: []string{"10.96.0.1"},
		Ports:      []*discoveryv1.ServicePort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 80}},
	}}}
}

// held returns what the kernel holds.
func held(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// untilApplied runs an agent until it has acknowledged a transaction, and stops it.
func untilApplied(t *testing.T, c *controlPlane) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	config := serve(t, c)
	go func() { done <- Run(ctx, config) }()
	for {
		select {
		case request := <-c.requests:
			if request.GetAck() == nil {
				continue
			}
			if detail := request.GetAck().GetErrorDetail(); detail != nil {
				t.Errorf("not applied: %s", detail.GetMessage())
			}
			stop()
		case err := <-done:
			if err != nil {
				t.Errorf("the agent ended with %v", err)
			}
			return
		}
	}
}

func TestRulesOutliveTheAgentAndCleanupRemovesThem(t *testing.T) {
	untilApplied(t, newControlPlane(nodeConfig(nil), service()))
	if rules := held(t); !strings.Contains(rules, "table ip portolan") || !strings.Contains(rules, "10.96.0.1") {
		t.Errorf("the agent has stopped, and the kernel holds\n%s", rules)
	}
	if err := Cleanup(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if rules := held(t); rules != "" {
		t.Errorf("cleanup leaves\n%s", rules)
	}
	if err := Cleanup(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Errorf("with nothing to remove: %v", err)
	}
}

// TestACleanupThatFailsIsAnError by a table that the kernel lets nobody remove but
// the process that owns it.
func TestACleanupThatFailsIsAnError(t *testing.T) {
	owner, err := gnft.New(gnft.AsLasting())
	if err != nil {
		t.Fatal(err)
	}
	owner.AddTable(&gnft.Table{Family: gnft.TableFamilyIPv4, Name: "portolan", Flags: gnft.TableFlagOwner})
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := Cleanup(t.Context(), hclog.NewNullLogger()); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "removing the nftables tables") {
		t.Errorf("error %v, want that the tables cannot be removed", err)
	}
	if err := owner.CloseLasting(); err != nil {
		t.Fatal(err)
	}
	if rules := held(t); rules != "" {
		t.Errorf("left\n%s", rules)
	}
}

func TestAnAgentThatMustListenEndsIfItCannot(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for flag, at := range map[string]func(*Config, string){
		HealthFlag:  func(c *Config, address string) { c.HealthAddress = address },
		MetricsFlag: func(c *Config, address string) { c.MetricsAddress = address },
	} {
		config := serve(t, newControlPlane())
		config.BindHardFail = true
		at(&config, taken.Addr().String())
		err := Run(t.Context(), config)
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "--"+flag+" "+taken.Addr().String()) {
			t.Errorf("error %v, want one that names --%s and the address", err, flag)
		}
	}
}
