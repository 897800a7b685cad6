package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// inside is set in the environment of a process that Enter has started.
const inside = "PORTOLAN_E2E_INSIDE"

// Inside tells whether this process was started by Enter.
func Inside() bool { return os.Getenv(inside) != "" }

// Enter runs this program again, as root of a new user, network and mount
// namespace, and returns its exit status. The product's module has a package that
// does the same, but must not be a dependency: it would choose the versions of
// modules that the API server is built with.
func Enter() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding this program's file:", err)
		return 1
	}
	command := exec.Command(self, os.Args[1:]...)
	command.Env = append(os.Environ(), inside+"=1")
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err = command.Run()
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
