// Package sandbox runs a program again in user, mount and network namespaces of its
// own, in which it may do everything and outside of which it changes nothing.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// environment is set in the program that runs inside, to the directory it may use.
const environment = "PORTOLAN_SANDBOX_DIRECTORY"

// Directory returns the directory that the program inside may use; empty outside.
func Directory() string { return os.Getenv(environment) }

// HasUserNamespace tells, inside, whether there is a user namespace around.
func HasUserNamespace() bool { return os.Getenv(environment+"_USER_NAMESPACE") != "" }

// ErrFailed says that the program inside has failed and has said why itself.
var ErrFailed = errors.New("failed")

// Config says what to run.
type Config struct {
	// What the program is called in advice: "the demo".
	What string
	// Arguments of this program, without its name.
	Arguments []string
	Directory string
	Out, Err  io.Writer
	// AsRoot has no user namespace where this process needs none: in one, the kernel may
	// let a program do less.
	AsRoot bool
}

// Run runs this program inside and waits for it. When the context ends it is asked
// to end, and it is killed if this process is.
func Run(ctx context.Context, config Config) error {
	err := run(ctx, config, !config.AsRoot)
	if refused := refusal(err); refused != nil && (os.Getuid() == 0 || config.AsRoot) {
		err = run(ctx, config, config.AsRoot)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return ErrFailed
	default:
		return Advise(err, config.What)
	}
}

// refusal returns the error if it means that no program was started.
func refusal(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func run(ctx context.Context, config Config, userNamespace bool) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	command := exec.CommandContext(ctx, self, config.Arguments...)
	command.Env = append(os.Environ(), environment+"="+config.Directory)
	command.Stdout, command.Stderr = config.Out, config.Err
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	const patience = 10 * time.Second
	command.WaitDelay = patience
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	if userNamespace {
		command.Env = append(command.Env, environment+"_USER_NAMESPACE=1")
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return command.Run()
}
