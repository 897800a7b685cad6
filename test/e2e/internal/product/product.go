// Package product builds the programs and runs them as processes of their own.
package product

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/portolan-net/portolan/test/e2e/internal/lab"
)

// module is the product's module as seen from the directory of the tests.
const module = "../.."

// directory names the environment variable that says where the programs are.
const directory = "PORTOLAN_E2E_BIN"

// Build builds the programs, the crowd of simulated agents and who knocks, into a directory,
// where this process and its children find them.
func Build(dir string) error {
	command := exec.Command("go", "build", "-trimpath", "-o", dir+string(filepath.Separator), "./cmd/...", "./test/crowd", "./test/knock")
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, output)
	}
	return os.Setenv(directory, dir)
}

// KubeProxy is the name of the program that BuildKubeProxy builds.
const KubeProxy = "kube-proxy"

// BuildKubeProxy builds kube-proxy, of the module that the API server is of, into the
// same directory. Flags as those of the test's own build let the two share packages.
func BuildKubeProxy(dir string) error {
	command := exec.Command("go", "build", "-o", filepath.Join(dir, KubeProxy), "k8s.io/kubernetes/cmd/kube-proxy")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building kube-proxy: %w\n%s", err, output)
	}
	return nil
}

func program(name string) string { return filepath.Join(os.Getenv(directory), name) }

// Run runs a program to its end and returns what it prints.
func Run(ctx context.Context, name string, args ...string) (string, error) {
	output, err := exec.CommandContext(ctx, program(name), args...).Output()
	return string(output), err
}

// Everything runs a program to its end and returns what it prints, errors too.
func Everything(ctx context.Context, name string, args ...string) string {
	output, _ := exec.CommandContext(ctx, program(name), args...).CombinedOutput()
	return string(output)
}

// RunOn runs one of the programs, or of the machine's, to its end in the network namespace of a
// host, and returns what it prints, errors too.
func RunOn(ctx context.Context, host *lab.Host, name string, args ...string) (string, error) {
	path := program(name)
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(name); err != nil {
			return "", err
		}
	}
	var output []byte
	err := host.Do(func() (err error) {
		output, err = exec.CommandContext(ctx, path, args...).CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s %s on %s: %w\n%s", name, strings.Join(args, " "), host.Name, err, output)
	}
	return string(output), err
}

// Process is a running program.
type Process struct {
	command *exec.Cmd
	log     string
}

// Start starts a program. The test's end is its end; if the test fails, the end of
// what it logged is shown.
func Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return start(t, func(f func() error) error { return f() }, name, args)
}

// StartOn is Start in the network namespace of a host.
func StartOn(t testing.TB, host *lab.Host, name string, args ...string) *Process {
	t.Helper()
	return start(t, host.Visit, name, args)
}

// start starts a program from within where.
func start(t testing.TB, where func(func() error) error, name string, args []string) *Process {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := &Process{command: exec.Command(program(name), args...), log: file.Name()}
	p.command.Stdout, p.command.Stderr = file, file
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := onLastingThread(func() error { return where(p.command.Start) }); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s logged:\n%s", strings.Join(p.command.Args, " "), p.tail())
		}
	})
	return p
}

// onLastingThread runs f on a thread that stays. The death signal of a process is
// sent when the thread that started it ends, and threads end: any may become that
// of a goroutine that visits another namespace.
func onLastingThread(f func() error) error {
	starter.Do(func() {
		go func() {
			runtime.LockOSThread()
			for f := range starts {
				f()
			}
		}()
	})
	done := make(chan error)
	starts <- func() { done <- f() }
	return <-done
}

var (
	starter sync.Once
	starts  = make(chan func())
)

// Kill kills the process as kill -9 does, and waits for its end. Doing it again
// does nothing.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// Log returns what the process has logged so far.
func (p *Process) Log() (string, error) {
	text, err := os.ReadFile(p.log)
	return string(text), err
}

func (p *Process) tail() string {
	const enough = 4000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-enough):])
}
