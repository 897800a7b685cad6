// Package root is the command tree of portolan.
package root

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/internal/version"
	"github.com/portolan-net/portolan/cmd/portolan/internal/apply"
	"github.com/portolan-net/portolan/cmd/portolan/internal/bundle"
	"github.com/portolan-net/portolan/cmd/portolan/internal/check"
	"github.com/portolan-net/portolan/cmd/portolan/internal/config"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo"
	"github.com/portolan-net/portolan/cmd/portolan/internal/diff"
	"github.com/portolan-net/portolan/cmd/portolan/internal/explain"
	"github.com/portolan-net/portolan/cmd/portolan/internal/get"
	"github.com/portolan-net/portolan/cmd/portolan/internal/release"
	"github.com/portolan-net/portolan/cmd/portolan/internal/status"
	"github.com/portolan-net/portolan/cmd/portolan/internal/top"
	"github.com/portolan-net/portolan/cmd/portolan/internal/trace"
	"github.com/portolan-net/portolan/cmd/portolan/internal/wait"
)

// plugin is what kubectl finds as a plugin.
const plugin = "kubectl-portolan"

// Command returns the command tree of a program of a name: as a plugin it calls itself
// "kubectl portolan".
func Command(program string) *cobra.Command {
	command := &cobra.Command{
		Use:   "portolan",
		Short: "Kubernetes Service load balancing with one brain and many thin hands",
		Example: `  portolan demo
  portolan check --pre
  portolan apply -f cluster/ --node node-a
  portolan status --wait
  portolan get nodes
  portolan explain demo/web --node node-a
  portolan explain --from demo/client-0 --to demo/web:80
  portolan diff
  portolan wait service/demo/web`,
	}
	if filepath.Base(program) == plugin {
		command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl portolan"}
	}
	command.AddCommand(apply.Command(), check.Command(), get.Command(), explain.Command(), diff.Command(), release.Command(), status.Command(), top.Command(),
		trace.Command(), wait.Command(), bundle.Command(version.String()), config.Command(), demo.Command())
	return command
}
