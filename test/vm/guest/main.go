// Command guest is the first process of a machine of command vm: it loads the modules,
// runs the program and powers the machine off.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// exitLine is what command vm looks for in the console.
const exitLine = "portolan-vm: exit status "

func main() {
	status := 125
	if err := prepare(); err != nil {
		fmt.Println("init:", err)
	} else {
		status = run()
	}
	// On a line of its own, whatever the program wrote last.
	fmt.Printf("\n%s%d\n", exitLine, status)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("init: powering off:", err)
	}
	select {}
}

// prepare makes the file systems that programs expect, and loads the modules.
func prepare() error {
	for _, m := range []struct{ kind, path string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	} {
		if err := os.MkdirAll(m.path, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", m.path, err)
		}
		if err := unix.Mount(m.kind, m.path, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.path, err)
		}
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	list, err := os.Open("/modules/order")
	if err != nil {
		return fmt.Errorf("loading modules: %w", err)
	}
	defer func() { _ = list.Close() }()
	for lines := bufio.NewScanner(list); lines.Scan(); {
		if err := load("/modules/" + lines.Text()); err != nil {
			return err
		}
	}
	return nil
}

// loopback sets lo up, without which no address of the machine is known to be local.
func loopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

func load(path string) error {
	module, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("loading modules: %w", err)
	}
	defer func() { _ = module.Close() }()
	if err := unix.FinitModule(int(module.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading module %s: %w", path, err)
	}
	return nil
}

// run runs the program of /command, a line for each argument, and returns its exit status.
func run() int {
	text, err := os.ReadFile("/command")
	if err != nil {
		fmt.Println("init:", err)
		return 125
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	command := exec.Command(lines[0], lines[1:]...)
	command.Dir = "/"
	environment, err := os.ReadFile("/environment")
	if err != nil {
		fmt.Println("init:", err)
		return 125
	}
	command.Env = append([]string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp"}, strings.Fields(string(environment))...)
	command.Stdout, command.Stderr = os.Stdout, os.Stdout
	err = command.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Println("init:", err)
		return 125
	}
	return 0
}
