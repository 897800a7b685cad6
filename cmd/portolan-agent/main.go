// Command portolan-agent keeps a node's kernel equal to what the control plane
// says.
package main

import (
	"os"
	"runtime/debug"

	"github.com/portolan-net/portolan/cmd/internal/agentcommand"
	"github.com/portolan-net/portolan/cmd/internal/program"
)

// gcPercent makes the garbage collector work more often than Go's default of 100: what an
// agent holds is nearly all long-lived, and a node's memory is worth more than the little
// CPU. GOGC in the environment has precedence.
const gcPercent = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(program.Run(agentcommand.New()))
}
