package scripts_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/test/netns"
)

// directory names the environment variable that says where the programs are.
const directory = "PORTOLAN_SCRIPTS_BIN"

// TestMain builds the programs and runs the tests in a namespace.
func TestMain(m *testing.M) { netns.WithPrograms(m, build) }

func build(dir string) error {
	command := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/...")
	command.Dir = "../.."
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	// As make build does.
	return errors.Join(os.Symlink("portolan", filepath.Join(dir, "kubectl-portolan")), os.CopyFS(dir, os.DirFS("../../deploy/kubectl")),
		os.Setenv(directory, dir))
}

// TestStories runs the stories one after the other, since they share a kernel.
func TestStories(t *testing.T) {
	loopback, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(loopback)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories %v, error %v", files, err)
	}
	for _, file := range files {
		// The outer test ends only when the parallel one in it has.
		t.Run("story", func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: []string{file}, Setup: setup,
				Cmds:                map[string]func(*testscript.TestScript, bool, []string){"await": await},
				RequireExplicitExec: true, RequireUniqueNames: true,
			})
		})
	}
}

// setup begins a story with an empty kernel and the programs in the path.
func setup(env *testscript.Env) error {
	env.Setenv("PATH", strings.Join([]string{os.Getenv(directory), os.Getenv("PATH"), "/usr/sbin", "/sbin"}, string(os.PathListSeparator)))
	command := exec.Command("nft", "flush", "ruleset")
	command.Env = env.Vars
	command.Path = lookNft()
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("emptying the kernel: %w: %s", err, output)
	}
	return nil
}

func lookNft() string {
	if path, err := exec.LookPath("nft"); err == nil {
		return path
	}
	return "/usr/sbin/nft"
}

// patience is how long a story awaits something.
const patience = 20 * time.Second

// await is a command of stories. "await REGEXP PROGRAM ARG..." runs the program again
// and again until what it prints matches; "await REGEXP URL" does so with what the URL
// answers, status and body.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await REGEXP URL|PROGRAM [ARG...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		output := observe(ts, args[1:])
		if pattern.MatchString(output) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within %v; the last time:\n%s", patience, output)
		}
	}
}

func observe(ts *testscript.TestScript, args []string) string {
	if !strings.HasPrefix(args[0], "http://") {
		_ = ts.Exec(args[0], args[1:]...) // What it prints counts.
		return ts.ReadFile("stdout") + ts.ReadFile("stderr")
	}
	response, err := http.Get(args[0])
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.Status + "\n" + string(body)
}
