// Package config is `portolan config`: it turns kube-proxy's configuration into
// Portolan's own and says what became of each field.
package config

import (
	"github.com/spf13/cobra"
)

// Command returns the command.
func Command() *cobra.Command {
	command := &cobra.Command{
		Use:   "config import",
		Short: "Work with the nodes' configuration",
		Long: `Work with the nodes' configuration, a file that portolan-controlplane and portolan
apply take with --config. It is kube-proxy's own file, or Portolan's, which can say
more: that some nodes, by their labels, are configured otherwise.`,
		Example: `  portolan config import kube-proxy.yaml
  portolan config import --from-cluster -w portolan.yaml`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(importCommand())
	return command
}
