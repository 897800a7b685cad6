// Package agentcommand is the command line of portolan-agent.
package agentcommand

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/agent"
	"github.com/portolan-net/portolan/cmd/internal/logging"
	"github.com/portolan-net/portolan/cmd/internal/tlsflags"
	"github.com/portolan-net/portolan/cmd/internal/version"
)

type options struct {
	logging    logging.Flags
	tls        tlsflags.Flags
	node       string
	servers    []string
	checkpoint string
	healthz    string
	metrics    string
	maxService int
	maxAll     int
}

// New returns the command tree.
func New() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "portolan-agent --server HOST:PORT [flags]",
		Short: "Keep this node's kernel equal to what the control plane says",
		Long: `Keep this node's kernel equal to what the control plane says.

The agent subscribes to one of the given control planes, applies what it sends to
nftables, and acknowledges it when the kernel holds it. It needs CAP_NET_ADMIN and
no access to the Kubernetes API. Control planes must be reachable without Services
and cluster DNS, which need the agent to work.

When it stops, for whatever reason, the rules stay. "portolan-agent cleanup"
removes them.`,
		Example: `  portolan-agent --server 192.0.2.10:9440 --server 192.0.2.11:9440 \
    --tls-ca-file ca.crt --tls-cert-file node.crt --tls-key-file node.key`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	flags := command.Flags()
	flags.StringVar(&o.node, "node", "", "name of this Node (default: the host name in lower case)")
	flags.StringSliceVar(&o.servers, "server", nil, "address of a control plane, host:port; may be repeated (required)")
	flags.StringVar(&o.checkpoint, "checkpoint-file", "/var/lib/portolan/checkpoint", "where the state is kept over reboots; empty means nowhere")
	flags.StringVar(&o.healthz, "healthz-bind-address", "0.0.0.0:10256", "where to serve /healthz and /livez; empty means nowhere")
	flags.StringVar(&o.metrics, "metrics-bind-address", "127.0.0.1:10249", "where to serve /metrics and /proxyMode; empty means nowhere")
	flags.IntVar(&o.maxService, "max-service-elements", agent.DefaultMaxServiceElements, "Services that need more map elements keep what they have; 0 means no limit")
	flags.IntVar(&o.maxAll, "max-elements", agent.DefaultMaxElements, "how many map elements all Services may need; 0 means no limit")
	o.tls.Register(flags, "control planes")
	o.logging.Register(flags)
	command.AddCommand(cleanupCommand())
	return command
}

// gcPercent keeps the heap small: an agent allocates little, and every node has
// one.
const gcPercent = 50

func (o *options) run(command *cobra.Command) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	logger, err := o.logging.New("portolan-agent", os.Stderr)
	if err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	transport, err := o.tls.Client(o.servers)
	if err != nil {
		return err
	}
	return agent.Run(command.Context(), agent.Config{
		Node: o.node, Servers: o.servers, DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(transport)},
		CheckpointPath: o.checkpoint, MaxServiceElements: o.maxService, MaxElements: o.maxAll, HealthAddress: o.healthz, MetricsAddress: o.metrics,
		Version: version.String(), Instance: instance(), Logger: logger,
	})
}

func (o *options) complete() error {
	if len(o.servers) == 0 {
		return errors.New("--server: expected at least one address of a control plane, host:port")
	}
	for _, server := range o.servers {
		if strings.HasPrefix(server, "unix:") {
			continue
		}
		if _, _, err := net.SplitHostPort(server); err != nil {
			return fmt.Errorf("--server %q: expected host:port: %w", server, err)
		}
	}
	if o.node == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("--node is not given and there is no host name: %w", err)
		}
		o.node = name
	}
	o.node = strings.ToLower(strings.TrimSpace(o.node))
	if o.checkpoint == "" {
		return nil
	}
	const ownerOnly = 0o700
	if err := os.MkdirAll(filepath.Dir(o.checkpoint), ownerOnly); err != nil {
		return fmt.Errorf("--checkpoint-file: expected a writable directory, or an empty flag: %w", err)
	}
	return nil
}

// instance returns what tells this process from others of the same node.
func instance() string {
	var random [6]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

func cleanupCommand() *cobra.Command {
	var flags logging.Flags
	command := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove everything that an agent has put into the kernel",
		Long: `Remove everything that an agent, or portolan apply, has put into the kernel of
this network namespace. Connections through Services break. Stop the agent first.`,
		Example: `  portolan-agent cleanup
  ip netns exec test portolan-agent cleanup`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			logger, err := flags.New("portolan-agent", os.Stderr)
			if err != nil {
				return err
			}
			if err := agent.Cleanup(command.Context(), logger); err != nil {
				return err
			}
			fmt.Fprintln(command.OutOrStdout(), "removed the tables portolan and portolan-anchor")
			return nil
		},
	}
	flags.Register(command.Flags())
	return command
}
