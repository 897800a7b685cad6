// Command portolan-controlplane watches a cluster and tells every node what to do.
package main

import (
	"os"

	"github.com/portolan-net/portolan/cmd/internal/controlplanecommand"
	"github.com/portolan-net/portolan/cmd/internal/program"
)

func main() { os.Exit(program.Run(controlplanecommand.New())) }
