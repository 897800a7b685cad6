package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
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
	return enter(&syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
}

// EnterAsRoot is Enter without a new user namespace, which takes the machine's root.
// There, and nowhere else, nft can send transactions of more than its socket's buffer.
func EnterAsRoot() int {
	return enter(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS})
}

// CanForceBuffers returns an error if nft cannot send transactions of any size:
// SO_SNDBUFFORCE is for the machine's root, whatever root of a namespace may do.
func CanForceBuffers() error {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	const more = 64 << 20
	return os.NewSyscallError("SO_SNDBUFFORCE", unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, more))
}

func enter(into *syscall.SysProcAttr) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding this program's file:", err)
		return 1
	}
	command := exec.Command(self, os.Args[1:]...)
	command.Env = append(os.Environ(), inside+"=1")
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	into.Pdeathsig = syscall.SIGKILL
	command.SysProcAttr = into
	err = command.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	default:
		fmt.Fprintln(os.Stderr, "running in namespaces:", err)
		return 1
	}
}
