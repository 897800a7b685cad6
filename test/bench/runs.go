package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// invocation is one command whose output has figures.
type invocation struct {
	// Mark is how rows refer to it.
	Mark string
	// dir is from the repository's root.
	dir  string
	args []string
}

// runs are in the order in which they run.
var runs = []invocation{
	benchmark("A", "agent/internal/dataplane/nftables", "OneChange|WholeLoadOverFloor", "5x"),
	benchmark("B", "agent/internal/dataplane/nftables", "Peer", "3x"),
	benchmark("C", "agent/internal/dataplane/nftables", "NewConnections$", "12x"),
	benchmark("D", "agent/internal/dataplane/nftables", "ConnectionsWhile", "1000000x"),
	benchmark("E", "controlplane/internal/discovery", "OneChange", "500x"),
	benchmark("F", "controlplane/internal/discovery", "FanOut|FullSyncs", "5x"),
	benchmark("G", "controlplane/internal/admission", ".", "500x"),
	benchmark("H", "test/footprint", ".", "1x"),
	benchmark("K", "agent/internal/traffic", "Connections|Table", "10x"),
	benchmark("L", "controlplane/internal/tracing", "Answers", "20x"),
	{Mark: "I", dir: "test/e2e", args: []string{"test", "-run", "TestPacketsFollowTheAPI", "-count=1", "-p=1", "-v", "-ldflags", kubernetesVersion, "."}},
	{Mark: "J", dir: "test/e2e", args: []string{"test", "-run", "^$", "-bench", "KubeProxy", "-benchtime", "1x", "-timeout", "10m", "-ldflags", kubernetesVersion, "."}},
}

// kubernetesVersion has the API server say what it is.
const kubernetesVersion = "-X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"

func benchmark(mark, dir, pattern, times string) invocation {
	return invocation{Mark: mark, dir: ".", args: []string{"test", "-run", "^$", "-bench", pattern, "-benchtime", times, "-timeout", "10m", "./" + dir}}
}

// String is the command as a person types it, from the repository's root.
func (i invocation) String() string {
	var b strings.Builder
	if i.dir != "." {
		fmt.Fprintf(&b, "cd %s && ", i.dir)
	}
	b.WriteString("go")
	for _, arg := range i.args {
		if strings.ContainsAny(arg, "|$ ") || arg == "." && i.dir == "." {
			arg = "'" + arg + "'"
		}
		b.WriteString(" " + arg)
	}
	return b.String()
}

// measure runs everything and keeps the output.
func measure(ctx context.Context, root, output string) error {
	if err := os.MkdirAll(filepath.Dir(output), 0o750); err != nil {
		return err
	}
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, i := range runs {
		begun := time.Now()
		fmt.Printf("%s: %s\n", i.Mark, i)
		command := exec.CommandContext(ctx, "go", i.args...)
		command.Dir = filepath.Join(root, i.dir)
		command.Stdout, command.Stderr = file, io.MultiWriter(file, os.Stderr)
		if err := command.Run(); err != nil {
			return fmt.Errorf("%s: %w (its output is in %s)", i, err, output)
		}
		fmt.Printf("%s took %s\n", i.Mark, time.Since(begun).Round(time.Second))
	}
	return nil
}
