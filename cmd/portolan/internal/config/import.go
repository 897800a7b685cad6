package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
	"github.com/portolan-net/portolan/controlplane"
)

// portolan is the format that is the configuration itself.
const portolan output.Format = "portolan"

type importOptions struct {
	format      output.Format
	fromCluster bool
	kubeconfig  string
	write       string
}

func importCommand() *cobra.Command {
	var o importOptions
	command := &cobra.Command{
		Use:   "import FILE | --from-cluster | -- FLAG...",
		Short: "Turn kube-proxy's configuration into Portolan's, and say what became of it",
		Long: `Turn kube-proxy's configuration into Portolan's own, and say of each field that is
set what becomes of it:

  honoured  Portolan has the field under the same name
  mapped    Portolan has it under another name, or as another value
  ignored   it has no effect, and why, or what to set instead
  default   it is not set, and kube-proxy's default for it is not Portolan's

The configuration is a file (- for standard input), that of a cluster which kubeadm
made (--from-cluster), or the flags of a kube-proxy, after --. What the control plane
would refuse is an error here.

To import is not needed: --config takes kube-proxy's file as it is.`,
		Example: `  portolan config import kube-proxy.yaml
  portolan config import kube-proxy.yaml -w portolan.yaml
  portolan config import --from-cluster -o portolan
  portolan config import -- --proxy-mode=ipvs --ipvs-scheduler=rr`,
		RunE: o.run,
	}
	o.format.Register(command, portolan)
	flags := command.Flags()
	flags.Lookup("output").Usage += " (the configuration itself)"
	flags.BoolVar(&o.fromCluster, "from-cluster", false, "read the ConfigMap kube-system/kube-proxy, key config.conf")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default: as kubectl's)")
	flags.StringVarP(&o.write, "write", "w", "", "write Portolan's configuration to this file")
	_ = command.MarkFlagFilename("write", "yaml", "yml")
	return command
}

func (o *importOptions) run(command *cobra.Command, args []string) error {
	imported, err := o.read(command, args)
	if err != nil {
		return err
	}
	for _, warning := range imported.Warnings {
		command.PrintErrln("warning:", warning)
	}
	if err := o.print(command.OutOrStdout(), imported); err != nil {
		return err
	}
	if o.write == "" {
		return nil
	}
	if err := os.WriteFile(o.write, imported.File, 0o644); err != nil {
		return fmt.Errorf("--write: %w", err)
	}
	command.PrintErrln("wrote", o.write)
	return nil
}

var errOneSource = errors.New("expected one of: a file, --from-cluster, or flags of kube-proxy after --")

// read imports from the one source that is given.
func (o *importOptions) read(command *cobra.Command, args []string) (*controlplane.ImportedConfig, error) {
	areFlags := command.ArgsLenAtDash() == 0 && len(args) > 0
	switch {
	case o.kubeconfig != "" && !o.fromCluster:
		return nil, errors.New("--kubeconfig: expected with --from-cluster only")
	case o.fromCluster && len(args) == 0:
		content, place, err := controlplane.ClusterProxyConfig(command.Context(), o.kubeconfig)
		return importFile(content, place, err)
	case !o.fromCluster && areFlags:
		return controlplane.ImportFlags(args)
	case !o.fromCluster && len(args) == 1 && command.ArgsLenAtDash() < 0:
		content, name, err := readFile(command.InOrStdin(), args[0])
		return importFile(content, name, err)
	default:
		return nil, errOneSource
	}
}

// readFile returns a file's content and what it is called.
func readFile(stdin io.Reader, path string) (content []byte, name string, err error) {
	if path == "-" {
		content, err = io.ReadAll(stdin)
		return content, "standard input", err
	}
	content, err = os.ReadFile(path)
	return content, path, err
}

// importFile imports what was read, unless that failed.
func importFile(content []byte, name string, err error) (*controlplane.ImportedConfig, error) {
	if err != nil {
		return nil, err
	}
	return controlplane.ImportConfig(name, content)
}

// report is what programs are told.
type report struct {
	Fields   []controlplane.ImportedItem `json:"fields"`
	Warnings []string                    `json:"warnings"`
}

func (o *importOptions) print(w io.Writer, imported *controlplane.ImportedConfig) error {
	switch o.format {
	case portolan:
		_, err := w.Write(imported.File)
		return err
	case output.Table:
		return table(w, imported.Items)
	default:
		text, err := json.Marshal(report{Fields: present(imported.Items), Warnings: present(imported.Warnings)})
		if err != nil {
			return fmt.Errorf("as JSON: %w", err)
		}
		return o.format.PrintJSON(w, text)
	}
}

// present returns an empty list for none, so that programs find one.
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

var heading = []string{"FIELD", "VALUE", "OUTCOME", "BECOMES", "NOTE"}

func table(w io.Writer, items []controlplane.ImportedItem) error {
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = []string{item.Field, item.Value, string(item.Outcome), item.To, item.Note}
	}
	return output.Rows(w, heading, rows)
}
