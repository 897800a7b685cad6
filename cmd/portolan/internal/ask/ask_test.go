package ask

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
