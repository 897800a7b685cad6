package netlab

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair returns two namespaces behind a router.
func pair(t *testing.T) (left, right *Namespace) {
	t.Helper()
	router, err := Current("router")
	must(t, err)
	left, err = New("left")
	must(t, err)
	right, err = New("right")
	must(t, err)
	must(t, router.Sysctl("ipv4/ip_forward", "1"))
	for namespace, address := range map[*Namespace]string{left: "192.0.2.1", right: "192.0.2.2"} {
		must(t, Connect(End{In: namespace, Device: "eth0", Addresses: []string{address + "/32"}},
			End{In: router, Device: "to-" + namespace.Name, Addresses: []string{"192.0.2.254/32"}}))
		must(t, namespace.Route("192.0.2.254/32", "", "eth0"))
		must(t, namespace.Route(Default4, "192.0.2.254", "eth0"))
		must(t, router.Route(address+"/32", "", "to-"+namespace.Name))
	}
	return left, right
}

func TestNamespacesTalkThroughARouter(t *testing.T) {
	left, right := pair(t)
	listener, err := right.Listen("192.0.2.2:80")
	must(t, err)
	defer listener.Close()
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			_, _ = io.WriteString(connection, connection.RemoteAddr().String())
			_ = connection.Close()
		}
	}()
	must(t, left.Do(func() error {
		connection, err := Dial(t.Context(), "192.0.2.2:80", 5*time.Second)
		if err != nil {
			return err
		}
		defer connection.Close()
		seen, err := io.ReadAll(connection)
		if got := string(seen); got != connection.LocalAddr().String() {
			t.Errorf("seen %q", got)
		}
		return err
	}))

	t.Run("and a process runs in the namespace of its thread", func(t *testing.T) {
		command := exec.Command("/bin/sleep", "60")
		must(t, left.Start(command))
		defer func() { _ = command.Process.Kill(); _ = command.Wait() }()
		child, err := os.Readlink("/proc/" + strconv.Itoa(command.Process.Pid) + "/ns/net")
		must(t, err)
		thread, err := os.Readlink("/proc/" + strconv.Itoa(left.Thread) + "/ns/net")
		must(t, err)
		if child != thread {
			t.Errorf("process in %s, thread in %s", child, thread)
		}
	})
}

func TestWhatTheKernelRefusesIsNamed(t *testing.T) {
	n, err := New("n")
	must(t, err)
	if err := n.Route(Default4, "192.0.2.254", "lo"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("a gateway that is not reachable: %v", err)
	}
	if err := n.Route(Default4, "", "eth7"); err == nil {
		t.Error("a device that is not there is accepted")
	}
	if err := n.Sysctl("ipv4/no_such", "1"); !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		t.Errorf("a sysctl that is not there: %v", err)
	}
}
