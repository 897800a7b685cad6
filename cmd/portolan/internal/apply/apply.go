// Package apply is `portolan apply`: it programs the network namespace that it
// runs in once, from manifests, with control plane and agent in one process.
package apply

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/agent"
	"github.com/portolan-net/portolan/cmd/internal/logging"
	"github.com/portolan-net/portolan/controlplane"
)

type options struct {
	logging   logging.Flags
	manifests string
	node      string
	config    controlplane.ProxyConfig
	quiet     bool
}

// Command returns the command.
func Command() *cobra.Command {
	var o options
	o.logging.Level = "warn"
	command := &cobra.Command{
		Use:   "apply -f FILE|DIR --node NAME",
		Short: "Program this network namespace once, from manifests",
		Long: `Program the network namespace that the command runs in, once, as the given node.

The manifests are ordinary Kubernetes objects: Service, EndpointSlice, Node and
ServiceCIDR, in YAML or JSON. What an earlier apply or an agent had put into the
kernel is replaced, in one transaction. The exit status is 0 when the kernel
holds all that could be used; what could not be used is printed.

Needs CAP_NET_ADMIN in the network namespace. Undo with: portolan-agent cleanup`,
		Example: `  portolan apply -f cluster/ --node node-a
  portolan apply -f services.yaml --node node-a --config kube-proxy.yaml`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	flags := command.Flags()
	flags.StringVarP(&o.manifests, "filename", "f", "", "file or directory of manifests (required)")
	flags.StringVar(&o.node, "node", "", "name of the Node to be (required)")
	flags.StringVar(&o.config.ProxyConfigPath, "config", "", "configuration of the node: a file of Portolan's (Configuration) or kube-proxy's (KubeProxyConfiguration)")
	flags.StringVar(&o.config.Mode, "mode", "", "data plane, whatever the configuration says: nftables or ipvs")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors only")
	o.logging.Register(flags)
	_ = command.MarkFlagRequired("filename")
	_ = command.MarkFlagRequired("node")
	return command
}

func (o *options) run(command *cobra.Command) error {
	begun := time.Now()
	logger, err := o.logging.New("portolan", os.Stderr)
	if err != nil {
		return err
	}
	resources, problems, err := controlplane.Once(command.Context(), controlplane.OnceConfig{
		Manifests: o.manifests, Node: o.node, ProxyConfig: o.config, Logger: logger, Rand: rand.Reader,
	})
	for _, problem := range problems {
		fmt.Fprintln(command.ErrOrStderr(), "not in force:", problem)
	}
	if err != nil {
		return err
	}
	rejected, err := agent.Apply(command.Context(), o.node, resources, logger)
	for _, r := range rejected {
		fmt.Fprintf(command.ErrOrStderr(), "not in force: %s: %s\n", r.GetName().GetName(), r.GetReason())
	}
	if err != nil {
		return err
	}
	if !o.quiet {
		fmt.Fprintf(command.OutOrStdout(), "node %s: %d resources in force after %s\n", o.node, len(resources)-len(rejected), time.Since(begun).Round(time.Millisecond))
	}
	return nil
}
