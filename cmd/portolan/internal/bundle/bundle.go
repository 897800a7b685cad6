// Package bundle is `portolan bundle`: what somebody needs who helps from afar, in one
// archive, without the cluster's names and addresses.
package bundle

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
)

type options struct {
	server  ask.Flags
	file    string
	nodes   []string
	kernel  bool
	pages   []string
	local   bool
	names   bool
	now     func() time.Time
	version string
}

// Command returns the command.
func Command(version string) *cobra.Command { return command(time.Now, version) }

func command(now func() time.Time, version string) *cobra.Command {
	o := options{now: now, version: version}
	command := &cobra.Command{
		Use:   "bundle",
		Short: "Gather what somebody needs who helps from afar",
		Long: `Gather what somebody needs who helps from afar in one archive: the state of all nodes
and problems as each control plane sees them, and of the nodes that --node names what
they are told, and with --kernel how their kernels differ from it. --page adds what HTTP
endpoints say, such as metrics. --local adds the rules and settings of the machine that
the command runs on.

Names of nodes, Services and namespaces, and addresses, are replaced by others, the same
everywhere. What stands for what is written to FILE.names.json, which stays with you;
--names keeps them as they are. Tokens and keys are not gathered.`,
		Example: `  portolan bundle --node node-a --kernel
  portolan bundle -f help.tar.gz --page http://127.0.0.1:9442/metrics --local`,
		Args: cobra.NoArgs,
		RunE: o.run,
	}
	flags := command.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "where to write it (default: portolan-bundle-TIME.tar.gz)")
	flags.StringSliceVar(&o.nodes, "node", nil, "also what these nodes are told")
	flags.BoolVar(&o.kernel, "kernel", false, "also how the kernels of these nodes differ from it")
	flags.StringSliceVar(&o.pages, "page", nil, "also what is at these HTTP addresses")
	flags.BoolVar(&o.local, "local", false, "also this machine's rules and settings")
	flags.BoolVar(&o.names, "names", false, "keep names and addresses")
	_ = command.RegisterFlagCompletionFunc("node", o.server.CompleteNodes)
	o.server.Register(flags)
	return command
}

func (o *options) run(command *cobra.Command, _ []string) error {
	clients, done, err := o.server.ConnectAll()
	if err != nil {
		return err
	}
	defer done()
	ctx := command.Context()
	c := &collection{options: o, names: newPseudonyms()}
	c.add("bundle.txt", fmt.Appendf(nil, "portolan %s\ngathered %s\n", o.version, o.now().UTC().Format(time.RFC3339)))
	for i, client := range clients {
		c.ask(ctx, client, fmt.Sprintf("control-plane-%d/", i+1))
	}
	for i, page := range o.pages {
		c.fetch(ctx, page, fmt.Sprintf("pages/%d.txt", i+1))
	}
	if o.local {
		c.machine(ctx)
	}
	return o.write(command, c)
}

// write writes the archive, and beside it what its names stand for.
func (o *options) write(command *cobra.Command, c *collection) error {
	if o.file == "" {
		o.file = "portolan-bundle-" + o.now().UTC().Format("20060102-150405") + ".tar.gz"
	}
	c.add("errors.txt", c.troubles())
	if !o.names {
		for i := range c.files {
			f := &c.files[i]
			f.name, f.content = string(c.names.redact([]byte(f.name))), c.names.redact(f.content)
		}
	}
	if err := writeArchive(o.file, c.files, o.now()); err != nil {
		return err
	}
	if !o.names {
		const private = 0o600
		if err := os.WriteFile(o.file+".names.json", c.names.list(), private); err != nil {
			return fmt.Errorf("writing what the names stand for: %w", err)
		}
	}
	for _, trouble := range c.trouble {
		command.PrintErrln("not in the bundle:", trouble)
	}
	fmt.Fprintf(command.OutOrStdout(), "%s: %d files\n", o.file, len(c.files))
	if !o.names {
		fmt.Fprintf(command.OutOrStdout(), "%s.names.json: what its names and addresses stand for; keep it\n", o.file)
	}
	return nil
}
