package ask

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

func question(ctx context.Context, client *Client) (*introspectionv1.ListNodesResponse, error) {
	return client.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
}

func ask(t *testing.T, server string) (*introspectionv1.ListNodesResponse, error) {
	t.Helper()
	return With(t.Context(), &Flags{Server: server, Timeout: 500 * time.Millisecond}, question)
}

func TestAnswerOverUnixSocket(t *testing.T) {
	server := asktest.Serve(t, &asktest.Answers{Nodes: &introspectionv1.ListNodesResponse{Revision: 5}})
	response, err := ask(t, server)
	if err != nil || response.GetRevision() != 5 {
		t.Fatalf("got %v, %v", response, err)
	}
}

func TestErrorsNameTheAddressAndWhatWasExpected(t *testing.T) {
	for name, test := range map[string]struct{ server, want string }{
		"refused":         {closedPort(t), ": connection refused; expected the admin address"},
		"no socket":       {"unix:/nonexistent/admin.sock", "no control plane at unix:/nonexistent/admin.sock: no such file"},
		"no port":         {"example", `--server "example": expected host:port or unix:PATH`},
		"other service":   {otherService(t), "cannot be asked; expected the admin address"},
		"not gRPC":        {speaking(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak gRPC, or broke off; expected"},
		"silent":          {speaking(t, ""), "no answer from"},
		"its own refusal": {asktest.Serve(t, &asktest.Answers{Err: status.Error(codes.Unavailable, "not synced: wait")}), "not synced: wait"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(t, test.server)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func TestServerComesFromTheEnvironment(t *testing.T) {
	var f Flags
	t.Setenv(environment, "unix:/run/admin.sock")
	f.Register(pflag.NewFlagSet("", pflag.ContinueOnError))
	if f.Server != "unix:/run/admin.sock" {
		t.Errorf("server %q", f.Server)
	}
}

func TestCompletion(t *testing.T) {
	f := Flags{Server: asktest.Serve(t, &asktest.Answers{
		Nodes: &introspectionv1.ListNodesResponse{Nodes: []*introspectionv1.NodeStatus{{Node: "node-a"}}},
		View:  &introspectionv1.GetViewResponse{Services: []*introspectionv1.ServiceView{{Name: "demo/web"}}},
	})}
	command := &cobra.Command{}
	command.SetContext(t.Context())
	if names, _ := f.CompleteNodes(command, nil, ""); len(names) != 1 || names[0] != "node-a" {
		t.Errorf("nodes %v", names)
	}
	if names, _ := f.CompleteServices(command, nil, ""); len(names) != 1 || names[0] != "demo/web" {
		t.Errorf("services %v", names)
	}
	f.Server = closedPort(t)
	if _, directive := f.CompleteNodes(command, nil, ""); directive != cobra.ShellCompDirectiveError {
		t.Errorf("directive %v without a server", directive)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func closedPort(t *testing.T) string {
	listener := listen(t)
	_ = listener.Close()
	return listener.Addr().String()
}

func otherService(t *testing.T) string {
	listener, server := listen(t), grpc.NewServer()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func speaking(t *testing.T, words string) string {
	listener := listen(t)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			if words != "" {
				_, _ = connection.Write([]byte(words))
				_ = connection.Close()
			}
		}
	}()
	return listener.Addr().String()
}

func of(revision uint64, nodes ...*introspectionv1.NodeStatus) *asktest.Answers {
	return &asktest.Answers{Nodes: &introspectionv1.ListNodesResponse{Revision: revision, Nodes: nodes},
		View: &introspectionv1.GetViewResponse{Revision: revision}}
}

// TestReplicasAreAskedTogether: a node is as the replica sees it that it is connected to.
func TestReplicasAreAskedTogether(t *testing.T) {
	const (
		synced       = introspectionv1.SyncState_SYNC_STATE_SYNCED
		rejected     = introspectionv1.SyncState_SYNC_STATE_REJECTED
		disconnected = introspectionv1.SyncState_SYNC_STATE_DISCONNECTED
	)
	at := func(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
	first := asktest.Serve(t, of(7,
		&introspectionv1.NodeStatus{Node: "a", State: synced, CurrentRevision: 8},
		&introspectionv1.NodeStatus{Node: "b", State: disconnected},
		&introspectionv1.NodeStatus{Node: "c", State: disconnected, AckedAt: at(10), Peer: "later"}))
	second := asktest.Serve(t, of(40,
		&introspectionv1.NodeStatus{Node: "a", State: disconnected},
		&introspectionv1.NodeStatus{Node: "b", State: rejected},
		&introspectionv1.NodeStatus{Node: "c", State: disconnected, AckedAt: at(5)},
		&introspectionv1.NodeStatus{Node: "d", State: synced}))
	want := "a SYNC_STATE_SYNCED 8 | b SYNC_STATE_REJECTED 40 | c SYNC_STATE_DISCONNECTED 7 later | d SYNC_STATE_SYNCED 40"
	nodes := func(servers ...string) (string, error, error) {
		all, missing, err := Nodes(t.Context(), &Flags{Server: strings.Join(servers, ","), Timeout: 500 * time.Millisecond})
		var lines []string
		for _, n := range all.GetNodes() {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %d %s", n.GetNode(), n.GetState(), n.GetCurrentRevision(), n.GetPeer())))
		}
		return strings.Join(lines, " | "), missing, err
	}
	for _, servers := range [][]string{{first, second}, {second, " " + first}} {
		if got, missing, err := nodes(servers...); got != want || missing != nil || err != nil {
			t.Errorf("%s, %v, %v; want %s", got, missing, err, want)
		}
	}
	away := closedPort(t)
	if got, missing, err := nodes(first, away); err != nil || missing == nil || !strings.Contains(missing.Error(), away) || !strings.HasPrefix(got, "a SYNC") {
		t.Errorf("one is away: %s, %v, %v", got, missing, err)
	}
	if got, _, err := nodes(away, away); err == nil || strings.Count(err.Error(), away) != 1 || got != "" {
		t.Errorf("all are away: %s, %v", got, err)
	}
	// What any replica knows, the first that answers is asked.
	view := func(servers string) (uint64, error) {
		v, err := With(t.Context(), &Flags{Server: servers, Timeout: 500 * time.Millisecond}, func(ctx context.Context, c *Client) (*introspectionv1.GetViewResponse, error) {
			return c.GetView(ctx, &introspectionv1.GetViewRequest{})
		})
		return v.GetRevision(), err
	}
	if revision, err := view(away + "," + second + "," + first); revision != 40 || err != nil {
		t.Errorf("revision %d, error %v", revision, err)
	}
	refusing := asktest.Serve(t, &asktest.Answers{Err: status.Error(codes.NotFound, "there is no such node")})
	if _, err := view(refusing + "," + first); err == nil || !strings.Contains(err.Error(), "no such node") {
		t.Errorf("what one does not have the other is asked for: %v", err)
	}
}

// TestANodeIsComparedWhereItIsConnected, and if that fails, it is not said that another
// replica does not have it.
func TestANodeIsComparedWhereItIsConnected(t *testing.T) {
	compare := func(servers ...string) (*introspectionv1.CompareNodeResponse, error) {
		f := &Flags{Server: strings.Join(servers, ","), Timeout: 500 * time.Millisecond}
		clients, done, err := f.ConnectAll()
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		return CompareNode(t.Context(), f, clients, "a")
	}
	without := asktest.Serve(t, &asktest.Answers{})
	with := asktest.Serve(t, &asktest.Answers{Compared: map[string]*introspectionv1.CompareNodeResponse{"a": {Revision: 3}}})
	away := closedPort(t)
	for _, servers := range [][]string{{with, without}, {without, with}, {away, with}} {
		if r, err := compare(servers...); err != nil || r.GetRevision() != 3 {
			t.Errorf("%v, %v", r, err)
		}
	}
	if _, err := compare(without, without); err == nil || !strings.Contains(err.Error(), "is not connected to this control plane") {
		t.Errorf("error %v", err)
	}
	for _, servers := range [][]string{{without, away}, {away, without}} {
		if _, err := compare(servers...); err == nil || !strings.Contains(err.Error(), away) {
			t.Errorf("error %v", err)
		}
	}
}
