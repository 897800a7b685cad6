// Package netns lets tests run in network namespaces of their own, so that they
// can program the kernel without root and never touch the host's rules.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// inside is set in the environment of a process that Main has started.
const inside = "PORTOLAN_TEST_NETNS"

// Runner is a *testing.M.
type Runner interface{ Run() int }

// Main runs a package's tests in a new user, network and mount namespace, in which
// they are root. Call it from TestMain.
func Main(m Runner) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	os.Exit(reexec(os.Args))
}

// WithPrograms has a directory for what the tests run filled by build, which tells the
// environment where it is, and then is Main. The directory is removed at the end.
func WithPrograms(m Runner, build func(directory string) error) {
	if Inside() {
		os.Exit(m.Run())
	}
	os.Exit(buildAndEnter(build))
}

func buildAndEnter(build func(directory string) error) int {
	directory, err := os.MkdirTemp("", "portolan-test-")
	if err == nil {
		defer os.RemoveAll(directory)
		err = build(directory)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return reexec(os.Args)
}

// Inside tells whether this process was started by Main or WithPrograms.
func Inside() bool { return os.Getenv(inside) != "" }

func reexec(args []string) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding this program's file:", err)
		return 1
	}
	command := inNamespaces(self, args, syscall.CLONE_NEWUSER)
	if err = command.Start(); err != nil && os.Getuid() == 0 {
		// Root needs no user namespace where those are forbidden.
		command = inNamespaces(self, args, 0)
		err = command.Start()
	}
	if err == nil {
		err = command.Wait()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	default:
		fmt.Fprintln(os.Stderr, "running in a user and network namespace:", err)
		return 1
	}
}

func inNamespaces(self string, args []string, user uintptr) *exec.Cmd {
	command := exec.Command(self, args[1:]...)
	command.Env = append(os.Environ(), inside+"=1")
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: user | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if user != 0 {
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return command
}
