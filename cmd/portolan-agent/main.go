// Command portolan-agent keeps a node's kernel equal to what the control plane
// says.
package main

import (
	"os"

	"github.com/portolan-net/portolan/cmd/internal/agentcommand"
	"github.com/portolan-net/portolan/cmd/internal/program"
)

func main() { os.Exit(program.Run(agentcommand.New())) }
