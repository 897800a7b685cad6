package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// exitLine is how the machine's init says the program's exit status.
const exitLine = "portolan-vm: exit status "

// boot runs the machine and returns the program's exit status.
func boot(ctx context.Context, c config, image string) (int, error) {
	kernels, err := filepath.Glob(filepath.Join(c.kernel, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return 0, fmt.Errorf("%d kernels in %s: expected one boot/vmlinuz-*", len(kernels), c.kernel)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	command := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", strconv.Itoa(runtime.NumCPU()), "-m", strconv.Itoa(c.memory),
		"-kernel", kernels[0], "-initrd", image, "-append", "console=ttyS0 quiet panic=-1 mitigations=off",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot")
	console, err := command.StdoutPipe()
	if err != nil {
		return 0, err
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("starting the machine: %w", err)
	}
	status, said := follow(console, os.Stdout)
	err = command.Wait()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("the machine ran longer than %s", c.timeout)
	}
	if !said {
		return 0, fmt.Errorf("the machine ended without an exit status: %w", err)
	}
	return status, nil
}

// follow passes the console on, and returns the exit status that its last line says.
func follow(console io.Reader, to io.Writer) (status int, said bool) {
	lines := bufio.NewScanner(console)
	const longest = 1 << 20
	lines.Buffer(nil, longest)
	for lines.Scan() {
		text := strings.TrimRight(lines.Text(), "\r")
		if number, ok := strings.CutPrefix(text, exitLine); ok {
			status, said = parseStatus(number)
			continue
		}
		_, _ = fmt.Fprintln(to, text)
	}
	_, _ = io.Copy(io.Discard, console)
	return status, said
}

func parseStatus(text string) (int, bool) {
	status, err := strconv.Atoi(text)
	return status, err == nil
}
