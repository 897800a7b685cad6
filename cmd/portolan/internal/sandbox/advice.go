package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// obstacles are the settings by which systems keep users from having namespaces.
var obstacles = []struct{ name, off, on string }{
	{"kernel.unprivileged_userns_clone", "0", "1"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
	{"user.max_user_namespaces", "0", "15000"},
	{"user.max_net_namespaces", "0", "15000"},
}

// Advise adds to an error what to do if it comes from a missing permission.
// What is the program, as in "run the demo with sudo".
func Advise(err error, what string) error { return advise(err, what, "/proc/sys") }

func advise(err error, what, sysctls string) error {
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	for _, o := range obstacles {
		value, readErr := os.ReadFile(filepath.Join(sysctls, strings.ReplaceAll(o.name, ".", "/")))
		if readErr == nil && strings.TrimSpace(string(value)) == o.off {
			return fmt.Errorf("this system does not let users have network namespaces: %s is %s (%w)\n"+
				"either run %s with sudo, or allow it: sudo sysctl -w %s=%s", o.name, o.off, err, what, o.name, o.on)
		}
	}
	return fmt.Errorf("this system does not let users have network namespaces (%w)\n"+
		"run %s with sudo; in a container, also allow it namespaces (docker run --privileged)", err, what)
}
