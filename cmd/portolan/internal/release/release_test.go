package release

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	adminv1 "github.com/portolan-net/portolan/api/portolan/admin/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask/asktest"
)

func TestReleaseAsksAndSaysWhatItReleased(t *testing.T) {
	names := []string{"demo/a", "demo/b", "demo/c", "demo/d", "demo/e", "demo/f"}
	held := &introspectionv1.Brake{Services: names, Served: 8}
	const question = "6 of 8 Services are gone from the source, and nodes keep them: demo/a, demo/b, demo/c, demo/d, demo/e and 1 more\nHave nodes remove them? [y/N] "
	const released = "released the removal of 6 Services: demo/a, demo/b, demo/c, demo/d, demo/e and 1 more\n"
	for name, test := range map[string]struct {
		brake            *introspectionv1.Brake
		arguments        []string
		terminal         bool
		typed            string
		asked            bool
		out, errOut, err string
	}{
		"nothing held":   {nil, nil, true, "", false, "", "nothing is held back\n", ""},
		"yes by flag":    {held, []string{"--yes"}, false, "", true, released, "", ""},
		"yes by hand":    {held, nil, true, "y\n", true, released, question, ""},
		"no":             {held, nil, true, "n\n", false, "", question + "nothing was released\n", ""},
		"end of input":   {held, nil, true, "", false, "", question + "nothing was released\n", ""},
		"nobody to ask":  {held, nil, false, "y\n", false, "", "", "--yes is not given"},
		"for a program":  {held, []string{"--yes", "-o", "yaml"}, false, "", true, "held: 0\nnodesReleased: false\nreleased:\n- demo/a\n", "", ""},
		"not understood": {held, nil, true, "maybe\n", false, "", question + "nothing was released\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			answers := &asktest.Answers{
				Problems: &introspectionv1.ListProblemsResponse{Brake: test.brake},
				Release:  &adminv1.ReleaseBrakeResponse{Released: names},
			}
			release := command(func() bool { return test.terminal })
			release.SetIn(strings.NewReader(test.typed))
			out, errOut, err := asktest.Run(t, release, append(test.arguments, "--server", asktest.Serve(t, answers))...)
			if !strings.HasPrefix(out, test.out) || test.out == "" && out != "" || errOut != test.errOut {
				t.Errorf("printed %q and %q", out, errOut)
			}
			if (err != nil) != (test.err != "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("error %v", err)
			}
			if test.asked != (answers.AskedRelease != nil) || test.asked && !slices.Equal(answers.AskedRelease.GetServices(), names) {
				t.Errorf("asked to release %v", answers.AskedRelease)
			}
		})
	}
}

// TestEachReplicaIsAsked, and one that does not answer does not keep the others.
func TestEachReplicaIsAsked(t *testing.T) {
	held := func(names ...string) *asktest.Answers {
		return &asktest.Answers{
			Problems: &introspectionv1.ListProblemsResponse{Brake: &introspectionv1.Brake{Services: names, Served: 30}},
			Release:  &adminv1.ReleaseBrakeResponse{Released: names},
		}
	}
	first, second := held("demo/a"), held("demo/b")
	servers := []string{asktest.Serve(t, first), "unix:/nonexistent/admin.sock", asktest.Serve(t, second)}
	release := command(func() bool { return true })
	release.SetIn(strings.NewReader("n\ny\n"))
	out, errOut, err := asktest.Run(t, release, "--server", strings.Join(servers, ","))
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/admin.sock: no such file") {
		t.Errorf("error %v", err)
	}
	if first.AskedRelease != nil || !slices.Equal(second.AskedRelease.GetServices(), []string{"demo/b"}) || !strings.Contains(out, "demo/b") {
		t.Errorf("asked %v and %v\n%s", first.AskedRelease, second.AskedRelease, out)
	}
	for _, server := range servers {
		if !strings.Contains(errOut, server+": ") {
			t.Errorf("%s is not in:\n%s", server, errOut)
		}
	}
}

func TestNodesAreReleasedToo(t *testing.T) {
	answers := &asktest.Answers{
		Problems: &introspectionv1.ListProblemsResponse{Brake: &introspectionv1.Brake{HeldByNodes: 50}},
		Release:  &adminv1.ReleaseBrakeResponse{NodesReleased: true},
	}
	release := command(func() bool { return true })
	release.SetIn(strings.NewReader("y\n"))
	out, errOut, err := asktest.Run(t, release, "--server", asktest.Serve(t, answers))
	if err != nil || out != "released the nodes that hold more Services than there are\n" || !strings.HasPrefix(errOut, "nodes hold 50 Services or more, ") {
		t.Errorf("%q, %q, %v", out, errOut, err)
	}
}

// counting counts requests and the names in them.
type counting struct {
	adminv1.AdminServiceClient
	requests, names int
}

func (c *counting) ReleaseBrake(_ context.Context, request *adminv1.ReleaseBrakeRequest, _ ...grpc.CallOption) (*adminv1.ReleaseBrakeResponse, error) {
	c.requests++
	c.names += len(request.GetServices())
	return &adminv1.ReleaseBrakeResponse{Released: request.GetServices(), NodesReleased: c.requests == 1}, nil
}

func TestManyServicesAreReleasedInBatches(t *testing.T) {
	for names, want := range map[int]int{0: 1, 1: 1, batch: 1, batch + 1: 2, 3 * batch: 3} {
		c := &counting{}
		response, err := release(t.Context(), c, make([]string, names))
		if err != nil || c.requests != want || c.names != names || len(response.GetReleased()) != names || !response.GetNodesReleased() {
			t.Errorf("%d Services: %d requests, %d names, %v", names, c.requests, c.names, err)
		}
	}
}

func TestWhatCameMeanwhileIsSaid(t *testing.T) {
	answers := &asktest.Answers{
		Problems: &introspectionv1.ListProblemsResponse{Brake: &introspectionv1.Brake{Services: []string{"demo/a"}}},
		Release:  &adminv1.ReleaseBrakeResponse{Held: 2},
	}
	out, _, err := asktest.Run(t, Command(), "--yes", "--server", asktest.Serve(t, answers))
	if err != nil || out != "nothing was held back any more\n2 removals came meanwhile and still wait\n" {
		t.Errorf("%q, %v", out, err)
	}
}
