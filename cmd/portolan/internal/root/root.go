// Package root is the command tree of portolan.
package root

import (
	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/portolan/internal/apply"
	"github.com/portolan-net/portolan/cmd/portolan/internal/config"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo"
	"github.com/portolan-net/portolan/cmd/portolan/internal/diff"
	"github.com/portolan-net/portolan/cmd/portolan/internal/explain"
	"github.com/portolan-net/portolan/cmd/portolan/internal/get"
	"github.com/portolan-net/portolan/cmd/portolan/internal/release"
	"github.com/portolan-net/portolan/cmd/portolan/internal/status"
	"github.com/portolan-net/portolan/cmd/portolan/internal/wait"
)

// Command returns the command tree.
func Command() *cobra.Command {
	command := &cobra.Command{
		Use:   "portolan",
		Short: "Kubernetes Service load balancing with one brain and many thin hands",
		Example: `  portolan demo
  portolan apply -f cluster/ --node node-a
  portolan status --wait
  portolan get nodes
  portolan explain demo/web --node node-a
  portolan wait service/demo/web`,
	}
	command.AddCommand(apply.Command(), get.Command(), explain.Command(), diff.Command(), release.Command(), status.Command(), wait.Command(), config.Command(), demo.Command())
	return command
}
