package check

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/agent"
	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/cmd/internal/nodename"
	"github.com/portolan-net/portolan/cmd/internal/tlsflags"
	"github.com/portolan-net/portolan/cmd/internal/tokenfile"
	"github.com/portolan-net/portolan/cmd/internal/version"
	"github.com/portolan-net/portolan/controlplane"
)

// nodeOptions are what the agent of this node is given.
type nodeOptions struct {
	name       string
	mode       string
	servers    []string
	tls        tlsflags.Flags
	token      string
	checkpoint string
	health     string
	// probe probes the kernel, once.
	probe func() (agent.ProbedKernel, error)
}

// Where the chart's pods have what it mounts.
const (
	chartCA         = "/etc/portolan-ca/ca.crt"
	chartToken      = "/var/run/secrets/portolan/token"
	chartServerName = "portolan-controlplane"
)

var modes = []string{"nftables", "ipvs"}

func (o *nodeOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.name, "node", "", "name of this Node (default: the host name in lower case)")
	flags.StringVar(&o.mode, "mode", modes[0], "data plane that this node is to have: nftables or ipvs")
	flags.StringSliceVar(&o.servers, "agent-server", nil, "address of a control plane that the agent is given, host:port; may be repeated")
	flags.StringVar(&o.tls.CA, "agent-tls-ca-file", "", "the agent's --tls-ca-file (default: the chart's, if it is there)")
	flags.StringVar(&o.tls.ServerName, "agent-tls-server-name", "", "the agent's --tls-server-name (default: the chart's, with its CA)")
	flags.StringVar(&o.tls.Cert, "agent-tls-cert-file", "", "the agent's --tls-cert-file")
	flags.StringVar(&o.tls.Key, "agent-tls-key-file", "", "the agent's --tls-key-file")
	flags.StringVar(&o.token, "agent-token-file", "", "the agent's --token-file (default: the chart's, if it is there)")
	flags.StringVar(&o.checkpoint, "checkpoint-file", agent.DefaultCheckpoint, "the agent's --checkpoint-file")
	flags.StringVar(&o.health, agent.HealthFlag, agent.DefaultHealthAddress, "where the agent serves /healthz")
}

// complete checks the options and fills in what is not given.
func (o *nodeOptions) complete() error {
	if !slices.Contains(modes, o.mode) {
		return fmt.Errorf("--mode %q: expected nftables or ipvs", o.mode)
	}
	for _, server := range o.servers {
		if _, _, err := net.SplitHostPort(server); err != nil {
			return fmt.Errorf("--agent-server %q: expected host:port: %w", server, err)
		}
	}
	if o.name == "" {
		var err error
		if o.name, err = nodename.Of("", os.Hostname); err != nil {
			return err
		}
	}
	if o.tls.CA == "" && isThere(chartCA) {
		o.tls.CA = chartCA
		if o.tls.ServerName == "" {
			o.tls.ServerName = chartServerName
		}
	}
	if o.token == "" && isThere(chartToken) {
		o.token = chartToken
	}
	return nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (o *nodeOptions) checks(ctx context.Context, before bool, namespace string, limit time.Duration) []check.Check {
	_, account, _ := strings.Cut(controlplane.DefaultAgentServiceAccount, "/")
	return agent.Checks(ctx, agent.CheckConfig{
		Config: agent.Config{
			Node: o.name, Servers: o.servers, CheckpointPath: o.checkpoint, HealthAddress: o.health,
			Version: version.String(), Instance: "check", Logger: hclog.NewNullLogger(),
		},
		Before: before, IPVS: o.mode == "ipvs",
		CAFile: o.tls.CA, ServerName: o.tls.ServerName, CertFile: o.tls.Cert, TokenFile: o.token,
		Audience: controlplane.DefaultAgentAudience, ServiceAccount: namespace + "/" + account,
		Limit: limit, Dial: o.dialOptions, Probe: func(context.Context) (agent.ProbedKernel, error) { return o.probe() },
	})
}

// dialOptions are as the agent's.
func (o *nodeOptions) dialOptions() ([]grpc.DialOption, error) {
	transport, err := o.tls.Client(o.servers)
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if o.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(tokenfile.Credentials{Path: o.token, Plaintext: o.tls.Plaintext()}))
	}
	return options, nil
}
