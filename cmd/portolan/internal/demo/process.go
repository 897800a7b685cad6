package demo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/netlab"
)

// process is a control plane or an agent: this program, started again.
type process struct {
	name    string
	command *exec.Cmd
	logFile string
	// ended is closed when it has ended. It should not, unless killed is set.
	ended  chan struct{}
	killed bool
}

// start starts this program in a namespace, logging to a file.
func start(name string, in *netlab.Namespace, logFile string, arguments ...string) (*process, error) {
	const private = 0o600
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, private)
	if err != nil {
		return nil, fmt.Errorf("logging of %s: %w", name, err)
	}
	defer log.Close()
	// The file that this process runs from, even if somebody has built a new one.
	command := exec.Command("/proc/self/exe", arguments...)
	command.Stdout, command.Stderr = log, log
	if err := in.Start(command); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, command: command, logFile: logFile, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// check returns an error if the process has ended by itself.
func (p *process) check() error {
	if p.killed {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended: %s; the end of its log:\n%s", p.name, p.command.ProcessState, p.lastLines())
	default:
		return nil
	}
}

// kill ends the process at once, as the kernel's OOM killer would.
func (p *process) kill() {
	p.killed = true
	_ = p.command.Process.Signal(syscall.SIGKILL)
	<-p.ended
}

// lastLines returns the end of the log, indented.
func (p *process) lastLines() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	const count = 8
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	lines = lines[max(0, len(lines)-count):]
	return "     " + strings.ReplaceAll(string(bytes.Join(lines, []byte("\n"))), "\n", "\n     ")
}
