//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// root is the repository's.
	root = "../.."
	// apiServer and nodes are where test/cluster/hub has put them.
	apiServer = "192.168.79.1:6443"
	namespace = "portolan-system"
	patience  = 3 * time.Minute
)

var nodes = []string{"192.168.79.11", "192.168.79.12"}

// desk is the directory in which the pages' commands are run: it has the repository's deploy.
var desk string

func TestMain(m *testing.M) {
	deploy, err := filepath.Abs(root + "/deploy")
	if err == nil {
		desk, err = os.MkdirTemp("", "portolan-cluster-")
	}
	if err == nil {
		err = os.Symlink(deploy, desk+"/deploy")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(desk)
	os.Exit(status)
}

// TestInstallation follows docs/how-to/install.md from an empty cluster without kube-proxy to one
// without Portolan, and what users do meanwhile.
func TestInstallation(t *testing.T) {
	install := read(t, "docs/how-to/install.md")
	for _, step := range []struct {
		what string
		do   func(*testing.T)
	}{
		{"the cluster is looked at", func(t *testing.T) { says(t, sh(t, "portolan check --pre --scope cluster"), "0 failed") }},
		{"Helm installs it, as the page says", func(t *testing.T) {
			sh(t, "kubectl label node --all node-role.kubernetes.io/control-plane=")
			sh(t, install.block(t, "With Helm", "helm install"))
		}},
		{"every node is Synced, as the page says", func(t *testing.T) {
			says(t, sh(t, install.block(t, "See that it works", "rollout status")), "node-1", "node-2")
			eventually(t, func() error { return allSynced(t) })
		}},
		{"the checks pass, as the page says", func(t *testing.T) {
			says(t, sh(t, install.block(t, "See that it works", "check --scope cluster")), "0 failed")
		}},
		{"people ask over the network, as the page says", func(t *testing.T) {
			says(t, sh(t, install.block(t, "See that it works", "clusterrolebinding")), "Synced")
			out := sh(t, install.block(t, "See that it works", "for pod in"))
			if n := strings.Count(out, " Synced "); n != len(nodes) {
				t.Errorf("%d of %d nodes are Synced:\n%s", n, len(nodes), out)
			}
		}},
		{"pods reach a Service, on either node", serveWorkload},
		{"a rolling update loses no connection with the hook", func(t *testing.T) { roll(t, "with-hook", true) }},
		{"what fails without is counted", func(t *testing.T) { roll(t, "without-hook", false) }},
		{"an upgrade loses no connection", upgrade},
		{"Portolan goes, as the page says", func(t *testing.T) { takeAway(t, install) }},
	} {
		if !t.Run(step.what, step.do) {
			t.Log(diagnosis())
			t.FailNow()
		}
	}
}

// page is a page of documentation.
type page struct{ name, text string }

func read(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return page{name, string(text)}
}

var indented = regexp.MustCompile(`(?m)(?:^    .*\n|^\n    .*\n)+`)

// block returns the indented block of a section that has some text.
func (p page) block(t *testing.T, section, has string) string {
	t.Helper()
	_, rest, found := strings.Cut(p.text, "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, block := range indented.FindAllString(rest, -1) {
		if found && strings.Contains(block, has) {
			return strings.TrimPrefix(block, "\n")
		}
	}
	t.Fatalf("%s has no block with %q in %q", p.name, has, section)
	return ""
}

// here replaces the pages' examples by what this cluster has.
var here = strings.NewReplacer(
	"192.0.2.10:9440", nodes[0]+":9440", "192.0.2.11:9440", nodes[1]+":9440", "192.0.2.1:6443", apiServer)

// sh runs commands in one shell, as they stand but for the examples' addresses, and returns what
// they print. What they leave in the background ends with them.
func sh(t *testing.T, commands string) string {
	t.Helper()
	out, err := try(t.Context(), commands)
	if err != nil {
		t.Fatalf("%s\n%v:\n%s", commands, err, out)
	}
	return out
}

func try(ctx context.Context, commands string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", here.Replace(commands))
	command.Dir = desk
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	file, err := os.CreateTemp("", "portolan-cluster-")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	err = command.Start()
	if err == nil {
		err = command.Wait()
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}
	out, _ := os.ReadFile(file.Name())
	return string(out), err
}

func says(t *testing.T, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Since(begun) > patience {
			t.Fatalf("not within %s: %v", patience, err)
		}
	}
}

// allSynced returns an error unless each node is Synced, as one of the control planes sees it.
func allSynced(t *testing.T) error {
	t.Helper()
	var all strings.Builder
	for pod := range strings.FieldsSeq(sh(t, "kubectl -n "+namespace+" get pods -l app.kubernetes.io/name=portolan-controlplane -o name")) {
		out, err := try(t.Context(), "kubectl -n "+namespace+" exec "+pod+" -- /portolan get nodes --server unix:/run/portolan/admin.sock")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		all.WriteString(out)
	}
	for i := range nodes {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^node-%d .* Synced `, i+1)).MatchString(all.String()) {
			return fmt.Errorf("node-%d is not Synced:\n%s", i+1, &all)
		}
	}
	return nil
}

// diagnosis is what the cluster says when a step has failed.
func diagnosis() string {
	out, _ := try(context.Background(), `kubectl get nodes,pods -A -o wide; kubectl get events -A --sort-by .lastTimestamp | tail -30
for p in $(kubectl -n `+namespace+` get pods -o name); do echo "== $p"; kubectl -n `+namespace+` logs --all-containers --tail 15 $p; done || true`)
	return out
}
