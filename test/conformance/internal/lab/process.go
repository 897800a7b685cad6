package lab

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netns"
)

// Process is a program that runs in a namespace until it is killed, or this process
// ends.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// Start starts a program in the namespace; what it prints goes to output.
func (n *Namespace) Start(output io.Writer, program string, args ...string) (*Process, error) {
	p := &Process{command: exec.Command(program, args...), ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = output, output
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(p.ended)
		// The death signal is sent when the thread ends that started the program: it
		// waits for the program's end, in the namespace.
		runtime.LockOSThread()
		err := netns.Set(n.handle)
		if err == nil {
			err = p.command.Start()
		}
		started <- err
		if err == nil {
			_ = p.command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s in %s: %w", program, n.Name, err)
	}
	return p, nil
}

// Kill ends the program as kill -9 does.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// Ended tells whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}
