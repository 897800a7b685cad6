package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// config is what the command line says.
type config struct {
	kernel  string
	modules []string
	// files are what the machine has, by their paths there.
	files   map[string]string
	memory  int
	timeout time.Duration
	// environment is the program's, beside PATH, HOME and TMPDIR.
	environment []string
	program     []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	status, err := command(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		status = 125
	}
	stop()
	os.Exit(status) //nolint:gocritic // What is deferred has run.
}

// command runs the program of the command line and returns its exit status.
func command(ctx context.Context, args []string) (int, error) {
	c, err := parse(args)
	if err != nil {
		return 0, err
	}
	directory, err := os.MkdirTemp("", "portolan-vm-")
	if err != nil {
		return 0, fmt.Errorf("making a directory for the machine: %w", err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	image := filepath.Join(directory, "initramfs")
	if err := makeImage(ctx, c, image); err != nil {
		return 0, fmt.Errorf("making the initramfs: %w", err)
	}
	return boot(ctx, c, image)
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(text string) error {
	*l = append(*l, text)
	return nil
}

func parse(args []string) (config, error) {
	c := config{files: map[string]string{}}
	flags := flag.NewFlagSet("vm", flag.ContinueOnError)
	flags.StringVar(&c.kernel, "kernel", "", "directory of an unpacked kernel package, with boot/vmlinuz-* and lib/modules (required)")
	flags.Var((*list)(&c.modules), "module", "kernel module to load; may be given several times")
	var files list
	flags.Var(&files, "file", "GUEST=HOST: a file or directory that the machine has; without a slash GUEST is in /bin. May be given several times")
	flags.Var((*list)(&c.environment), "env", "NAME=VALUE in the program's environment. May be given several times")
	flags.IntVar(&c.memory, "memory", 768, "memory of the machine, MiB")
	flags.DurationVar(&c.timeout, "timeout", 10*time.Minute, "how long it may run")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	for _, text := range files {
		guest, host, ok := strings.Cut(text, "=")
		if !ok || guest == "" || host == "" {
			return c, fmt.Errorf("--file %q: expected GUEST=HOST", text)
		}
		if !strings.Contains(guest, "/") {
			guest = "/bin/" + guest
		}
		c.files[guest] = host
	}
	c.program = flags.Args()
	if c.kernel == "" || len(c.program) == 0 {
		return c, errors.New("usage: vm --kernel DIR [flags] -- PROGRAM [ARGS]")
	}
	return c, nil
}
