// Command portolan is the operator's tool: it programs a node from manifests,
// asks a control plane what each node was told and why, and shows a demo.
package main

import (
	"os"

	"github.com/portolan-net/portolan/cmd/internal/program"
	"github.com/portolan-net/portolan/cmd/portolan/internal/root"
)

func main() { os.Exit(program.Run(root.Command(os.Args[0]))) }
