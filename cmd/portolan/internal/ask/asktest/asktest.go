// Package asktest answers for a control plane in tests of the commands that ask one.
package asktest

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/portolan-net/portolan/api/portolan/admin/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// Answers are what the fake control plane answers; it keeps the last questions.
type Answers struct {
	introspectionv1.UnimplementedIntrospectionServiceServer
	adminv1.UnimplementedAdminServiceServer
	Nodes    *introspectionv1.ListNodesResponse
	View     *introspectionv1.GetViewResponse
	Explain  *introspectionv1.ExplainServiceResponse
	Problems *introspectionv1.ListProblemsResponse
	Release  *adminv1.ReleaseBrakeResponse
	// Compared has what nodes answer; there is nobody else.
	Compared map[string]*introspectionv1.CompareNodeResponse
	Err      error

	AskedView    *introspectionv1.GetViewRequest
	AskedExplain *introspectionv1.ExplainServiceRequest
	AskedRelease *adminv1.ReleaseBrakeRequest
}

// ListNodes implements the service.
func (a *Answers) ListNodes(context.Context, *introspectionv1.ListNodesRequest) (*introspectionv1.ListNodesResponse, error) {
	return a.Nodes, a.Err
}

// GetView implements the service.
func (a *Answers) GetView(_ context.Context, request *introspectionv1.GetViewRequest) (*introspectionv1.GetViewResponse, error) {
	a.AskedView = request
	return a.View, a.Err
}

// ExplainService implements the service.
func (a *Answers) ExplainService(_ context.Context, request *introspectionv1.ExplainServiceRequest) (*introspectionv1.ExplainServiceResponse, error) {
	a.AskedExplain = request
	return a.Explain, a.Err
}

// ListProblems implements the service.
func (a *Answers) ListProblems(context.Context, *introspectionv1.ListProblemsRequest) (*introspectionv1.ListProblemsResponse, error) {
	return a.Problems, a.Err
}

// CompareNode implements the service.
func (a *Answers) CompareNode(_ context.Context, request *introspectionv1.CompareNodeRequest) (*introspectionv1.CompareNodeResponse, error) {
	answer := a.Compared[request.GetNode()]
	if answer == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "node %q is not connected to this control plane", request.GetNode())
	}
	return answer, a.Err
}

// ReleaseBrake implements the service.
func (a *Answers) ReleaseBrake(_ context.Context, request *adminv1.ReleaseBrakeRequest) (*adminv1.ReleaseBrakeResponse, error) {
	a.AskedRelease = request
	return a.Release, a.Err
}

// Serve serves the answers until the test ends and returns where.
func Serve(t *testing.T, answers *Answers) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	introspectionv1.RegisterIntrospectionServiceServer(server, answers)
	adminv1.RegisterAdminServiceServer(server, answers)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "unix:" + path
}

// Run runs a command as a program would and returns what it printed.
func Run(t *testing.T, command *cobra.Command, arguments ...string) (out, errOut string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetOut(&o)
	command.SetErr(&e)
	command.SetArgs(arguments)
	err = command.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}
