package product

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ticks is how many clock ticks of /proc have a second, on every architecture that
// Go supports.
const ticks = 100

// CPU returns the CPU time, user and system, of the process and of the children
// that it has waited for.
func (p *Process) CPU() (time.Duration, error) {
	own, err := p.ownCPU()
	if err != nil {
		return 0, err
	}
	children, err := p.childrenCPU()
	return own + children, err
}

// ownCPU reads the clock of the process, which counts nanoseconds: /proc counts
// hundredths of a second, which is more than an agent takes for many changes.
func (p *Process) ownCPU() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED of include/linux/posix-timers_types.h
	clock := int32(^p.command.Process.Pid)<<3 | scheduled
	var spent unix.Timespec
	if err := unix.ClockGettime(clock, &spent); err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.command.Path, err)
	}
	return time.Duration(spent.Nano()), nil
}

// childrenCPU reads cutime and cstime, proc_pid_stat(5).
func (p *Process) childrenCPU() (time.Duration, error) {
	stat, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, may have spaces.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var user, system int64
	if _, err := fmt.Sscan(string(bytes.Join(fields[13:15], []byte(" "))), &user, &system); err != nil {
		return 0, fmt.Errorf("CPU time of children of %s: %w", p.command.Path, err)
	}
	return time.Duration(user+system) * time.Second / ticks, nil
}

// Memory returns the resident bytes of the process.
func (p *Process) Memory() (int64, error) {
	status, err := p.read("status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.command.Path, err)
	}
	return kib << 10, nil
}

func (p *Process) read(file string) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.command.Process.Pid, file))
}
