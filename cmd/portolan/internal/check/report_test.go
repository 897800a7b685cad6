package check

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portolan-net/portolan/api/check"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// sample has each outcome, in two groups.
func sample() report {
	result := func(id string, finding check.Finding) check.Result {
		c := check.New(check.Node, check.Always, id, "", nil)
		return check.Result{Definition: c.Definition, Finding: finding, Documentation: "https://docs#" + id, Seconds: 0.25}
	}
	return newReport([]check.Result{
		result("kernel-a", check.Passed("it is")),
		result("kernel-long", check.Warned("it is <so>").Do("Nothing & more.")),
		result("sysctl-b", check.Failed("it is 0: expected 1").Do("Set it.")),
		result("sysctl-c", check.Skipped("it cannot be seen")),
	})
}

func TestTheTableSaysWhatToDoOnlyWhereSomethingIs(t *testing.T) {
	var out bytes.Buffer
	if err := sample().print(&out, output.Table); err != nil {
		t.Fatal(err)
	}
	want := `kernel
  PASS  kernel-a     it is
  WARN  kernel-long  it is <so>
                     Nothing & more.
                     https://docs#kernel-long
sysctl
  FAIL  sysctl-b     it is 0: expected 1
                     Set it.
                     https://docs#sysctl-b
  SKIP  sysctl-c     it cannot be seen
4 checks: 1 passed, 1 warnings, 1 failed, 1 skipped
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	sample().table(&out, true)
	if text := out.String(); !strings.Contains(text, "  \x1b[31mFAIL\x1b[0m  sysctl-b     it is 0") {
		t.Errorf("%q", text)
	}
}

func TestJUnitIsWellFormedAndCounts(t *testing.T) {
	var out bytes.Buffer
	if err := sample().print(&out, output.JUnit); err != nil {
		t.Fatal(err)
	}
	var all suites
	if err := xml.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if all.Tests != 4 || all.Failures != 1 || all.Skipped != 1 || len(all.Suites) != 2 || all.Suites[1].Failures != 1 || all.Suites[1].Skipped != 1 || all.Suites[0].Tests != 2 {
		t.Errorf("%s", out.String())
	}
	failed, warned := all.Suites[1].Cases[0], all.Suites[0].Cases[1]
	if failed.Name != "sysctl-b" || failed.Class != "node.sysctl" || failed.Time != "0.250" || failed.Failure.Message != "it is 0: expected 1" || !strings.Contains(failed.Failure.Text, "https://docs#sysctl-b") {
		t.Errorf("%+v", failed)
	}
	if warned.Failure != nil || !strings.HasPrefix(warned.Out, "warning: it is <so>") {
		t.Errorf("%+v", warned)
	}
}

func TestProgramsAreToldAllOfIt(t *testing.T) {
	var out bytes.Buffer
	if err := sample().print(&out, output.JSON); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Error(diff)
	}
}

// says tests a finding.
func says(t *testing.T, name string, got check.Finding, outcome check.Outcome, message string) {
	t.Helper()
	if got.Outcome != outcome || !strings.Contains(got.Message, message) {
		t.Errorf("%s: %s: %s\nwant %s: %s", name, got.Outcome, got.Message, outcome, message)
	}
	if (got.Outcome == check.Fail || got.Outcome == check.Warn) && got.Advice == "" {
		t.Errorf("%s: %s without advice", name, got.Message)
	}
}

func TestWhatControlPlanesSayOfNodes(t *testing.T) {
	const synced, pending, rejected = introspectionv1.SyncState_SYNC_STATE_SYNCED, introspectionv1.SyncState_SYNC_STATE_PENDING, introspectionv1.SyncState_SYNC_STATE_REJECTED
	node := func(name string, state introspectionv1.SyncState) *introspectionv1.NodeStatus {
		return &introspectionv1.NodeStatus{Node: name, State: state, AgentVersion: "v1"}
	}
	a, b, c := node("a", synced), node("b", pending), node("c", rejected)
	c.LastError = "no room"
	type list = []*introspectionv1.NodeStatus
	says(t, "none", judgeStates(nil), check.Warn, "no node is known")
	says(t, "all", judgeStates(list{a}), check.Pass, "all 1 nodes are Synced")
	says(t, "soon", judgeStates(list{a, b}), check.Warn, "1 of 2 nodes are Synced; Pending: b")
	says(t, "rejected", judgeStates(list{a, b, c}), check.Fail, "1 of 3 nodes are Synced; Rejected: c (no room); Pending: b")

	says(t, "one version", judgeVersions(list{a, b}, "v1"), check.Pass, "of version v1")
	says(t, "another than ours", judgeVersions(list{a, b}, "v2"), check.Pass, "one version, v1; this program is of v2")
	b.AgentVersion = "v2"
	says(t, "two versions", judgeVersions(list{a, b}, "v1"), check.Warn, "v1 on a; v2 on b")
	says(t, "nobody", judgeVersions(nil, "v1"), check.Skip, "")

	says(t, "no warnings", judgeWarnings(list{a}), check.Pass, "")
	a.Warnings = []*discoveryv1.Warning{{Reason: "SchedulerApproximated", Message: "m"}}
	says(t, "warnings", judgeWarnings(list{a}), check.Warn, "a: SchedulerApproximated")
	says(t, "in force", judgeObjects(nil), check.Pass, "")
	says(t, "not in force", judgeObjects([]*introspectionv1.Problem{{Object: "Service demo/web", Message: "expected"}}), check.Warn, "1 problems: Service demo/web: expected")
	says(t, "let go", judgeBrake(nil), check.Pass, "")
	says(t, "held", judgeBrake(&introspectionv1.Brake{Services: []string{"a/b"}}), check.Fail, "removal of 1 Services")

	away := errors.New("no control plane at x")
	says(t, "answers", judgeAnswer("x", nil, false), check.Pass, "x answers")
	says(t, "is away", judgeAnswer("x", away, true), check.Fail, "no control plane at x")
	says(t, "was not asked for", judgeAnswer("x", away, false), check.Skip, "no --server is given")
}
