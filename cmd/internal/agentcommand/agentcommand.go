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
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/agent"
	"github.com/portolan-net/portolan/cmd/internal/logging"
	"github.com/portolan-net/portolan/cmd/internal/nodename"
	"github.com/portolan-net/portolan/cmd/internal/tlsflags"
	"github.com/portolan-net/portolan/cmd/internal/tokenfile"
	"github.com/portolan-net/portolan/cmd/internal/version"
)

type options struct {
	logging    logging.Flags
	tls        tlsflags.Flags
	token      string
	node       string
	servers    []string
	checkpoint string
	healthz    string
	metrics    string
	hardFail   bool
	profiling  bool
	traffic    time.Duration
	maxService int
	maxAll     int

	initOnly    bool
	initTimeout time.Duration
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
removes them.

With --init-only it does the one thing that needs more than CAP_NET_ADMIN, which is
to set the kernel's connection tracking up, and ends: for an init container.`,
		Example: `  portolan-agent --server 192.0.2.10:9440 --server 192.0.2.11:9440 \
    --tls-ca-file ca.crt --token-file /var/run/secrets/portolan/token
  portolan-agent --server 192.0.2.10:9440 \
    --tls-ca-file ca.crt --tls-cert-file node.crt --tls-key-file node.key`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	o.register(command.Flags())
	command.AddCommand(cleanupCommand())
	return command
}

func (o *options) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.node, "node", "", "name of this Node (default: the host name in lower case)")
	flags.StringSliceVar(&o.servers, "server", nil, "address of a control plane, host:port; may be repeated (required)")
	flags.StringVar(&o.checkpoint, "checkpoint-file", agent.DefaultCheckpoint, "where the state is kept over reboots; empty means nowhere")
	flags.StringVar(&o.healthz, agent.HealthFlag, agent.DefaultHealthAddress, "where to serve /healthz and /livez; empty means nowhere")
	flags.StringVar(&o.metrics, agent.MetricsFlag, "127.0.0.1:10249", "where to serve /metrics, /proxyMode, /configz, /flagz and /statusz; empty means nowhere")
	flags.IntVar(&o.maxService, "max-service-elements", agent.DefaultMaxServiceElements, "Services that need more map elements keep what they have; 0 means no limit")
	flags.IntVar(&o.maxAll, "max-elements", agent.DefaultMaxElements, "how many map elements all Services may need; 0 means no limit")
	flags.BoolVar(&o.hardFail, "bind-address-hard-fail", false, "end if one of these addresses is taken, instead of trying again")
	flags.DurationVar(&o.traffic, "service-traffic-period", 0, "count connections and bytes of each Service, and read the kernel's connection table this often for that, such as 30s; 0 is off")
	flags.BoolVar(&o.profiling, "profiling", false, "serve profiles at /debug/pprof, beside the metrics")
	flags.BoolVar(&o.initOnly, "init-only", false, "set the kernel's connection tracking up as configured, say what was set, and end")
	flags.DurationVar(&o.initTimeout, "init-timeout", defaultInitTimeout, "with --init-only, how long to wait for a control plane before the checkpoint's configuration is used")
	flags.StringVar(&o.token, "token-file", "", "file with the ServiceAccount token of this pod, shown to control planes and read again for each connection")
	o.tls.RegisterClient(flags)
	o.logging.Register(flags)
}

// defaultInitTimeout is long enough for a control plane that starts with the node.
const defaultInitTimeout = 30 * time.Second

// gcPercent makes the garbage collector work more often than Go's default of 100: what an
// agent holds is nearly all long-lived, and a node's memory is worth more than the little
// CPU. GOGC in the environment has precedence.
const gcPercent = 30

// saveMemory gives up what an agent can do without.
func (o *options) saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if !o.profiling {
		runtime.MemProfileRate = 0 // Each sampled stack costs a page or so, unless it is asked for.
	}
}

func (o *options) run(command *cobra.Command) error {
	o.saveMemory()
	logger, err := o.logging.New("portolan-agent", os.Stderr)
	if err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	if o.traffic != 0 && o.traffic < time.Second {
		return fmt.Errorf("--service-traffic-period=%s: expected 1s or more, or 0 for off", o.traffic)
	}
	dial, err := o.dialOptions()
	if err != nil {
		return err
	}
	config := agent.Config{
		Node: o.node, Servers: o.servers, DialOptions: dial,
		CheckpointPath: o.checkpoint, MaxServiceElements: o.maxService, MaxElements: o.maxAll,
		HealthAddress: o.healthz, MetricsAddress: o.metrics,
		BindHardFail: o.hardFail, Profiling: o.profiling, ServiceTrafficPeriod: o.traffic, Flags: values(command.Flags()),
		Version: version.String(), Instance: instance(), Logger: logger,
	}
	if !o.initOnly {
		return agent.Run(command.Context(), config)
	}
	line, err := agent.Init(command.Context(), config, o.initTimeout)
	if err == nil {
		fmt.Fprintln(command.OutOrStdout(), line)
	}
	return err
}

// dialOptions are how control planes are known, and how this node is to them.
func (o *options) dialOptions() ([]grpc.DialOption, error) {
	transport, err := o.tls.Client(o.servers)
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if o.token == "" {
		return options, nil
	}
	if _, err := tokenfile.Read(o.token); err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	// Without TLS all servers are local, or --insecure says that it does not matter.
	return append(options, grpc.WithPerRPCCredentials(tokenfile.Credentials{Path: o.token, Plaintext: o.tls.Plaintext()})), nil
}

// values returns what every flag is set to.
func values(flags *pflag.FlagSet) map[string]string {
	all := map[string]string{}
	flags.VisitAll(func(flag *pflag.Flag) { all[flag.Name] = flag.Value.String() })
	delete(all, "help")
	return all
}

// complete checks the options and fills in what is not given.
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
	if err := errors.Join(checkAddress(agent.HealthFlag, o.healthz), checkAddress(agent.MetricsFlag, o.metrics)); err != nil {
		return err
	}
	var err error
	if o.node, err = nodename.Of(o.node, os.Hostname); err != nil {
		return err
	}
	if o.checkpoint == "" {
		return nil
	}
	const ownerOnly = 0o700
	if err := os.MkdirAll(filepath.Dir(o.checkpoint), ownerOnly); err != nil {
		return fmt.Errorf("--checkpoint-file: expected a writable directory, or an empty flag: %w", err)
	}
	return nil
}

// checkAddress finds what no other try would mend.
func checkAddress(flag, address string) error {
	if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
		return fmt.Errorf("--%s %q: expected host:port, or nothing: %w", flag, address, err)
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
	var stay bool
	command := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove everything that an agent has put into the kernel",
		Long: `Remove everything that an agent, or portolan apply, has put into the kernel of
this network namespace. Connections through Services break, unless NAT rules of others,
such as kube-proxy's, keep the kernel translating. Stop the agent first.`,
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
			if stay {
				<-command.Context().Done()
			}
			return nil
		},
	}
	flags.Register(command.Flags())
	command.Flags().BoolVar(&stay, "stay", false, "stay until told to end, as the pods of a DaemonSet must")
	return command
}
