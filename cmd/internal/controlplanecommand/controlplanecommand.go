// Package controlplanecommand is the command line of portolan-controlplane.
package controlplanecommand

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/credentials"

	"github.com/portolan-net/portolan/cmd/internal/kubelogging"
	"github.com/portolan-net/portolan/cmd/internal/logging"
	"github.com/portolan-net/portolan/cmd/internal/tlsflags"
	"github.com/portolan-net/portolan/cmd/internal/version"
	"github.com/portolan-net/portolan/controlplane"
)

type options struct {
	logging      logging.Flags
	tls          tlsflags.Flags
	config       controlplane.ProxyConfig
	identity     controlplane.IdentityConfig
	agentAuth    string
	api          string
	brake        controlplane.BrakeConfig
	manifests    string
	kubeconfig   string
	cluster      string
	maxPorts     int
	maxEndpoints int
	maxStreams   int
	listen       string
	admin        string
	metrics      string
	stateMetrics bool
	profiling    bool
	tracing      tracingFlags
}

// New returns the command.
func New() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "portolan-controlplane [flags]",
		Short: "Watch a cluster and tell every node what to do",
		Long: `Watch a cluster and tell every node what to do.

The source is a directory of manifests (--manifests), an API server outside
(--kubeconfig), or the API server of the cluster that the process runs in.
Nothing is served before the source has delivered everything once, and nodes keep
their rules while no control plane runs.`,
		Example: `  portolan-controlplane --manifests cluster/ --listen 127.0.0.1:9440
  portolan-controlplane --kubeconfig ~/.kube/config --config kube-proxy.yaml \
    --tls-cert-file server.crt --tls-key-file server.key
  portolan-controlplane --kubeconfig ~/.kube/config --agent-auth certificate \
    --tls-ca-file ca.crt --tls-cert-file server.crt --tls-key-file server.key`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.run(command.Context()) },
	}
	flags := command.Flags()
	flags.StringVar(&o.manifests, "manifests", "", "file or directory of manifests to serve instead of an API server's objects")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the API server (default: that of the cluster around the process)")
	flags.StringVar(&o.cluster, "cluster", "default", "name of the cluster, the same for all replicas")
	flags.IntVar(&o.maxPorts, "max-service-ports", controlplane.DefaultMaxServicePorts, "Services with more ports keep their last good state")
	flags.IntVar(&o.maxEndpoints, "max-service-endpoints", controlplane.DefaultMaxServiceEndpoints, "Services with more endpoints, counted once for each port, keep their last good state")
	flags.IntVar(&o.maxStreams, "max-streams", controlplane.DefaultMaxStreams, "open streams of agents; further ones are to come back later")
	brake := controlplane.DefaultBrake()
	flags.Float64Var(&o.brake.BrakeShare, "brake-share", brake.BrakeShare, "a deletion of more than this part of the Services, and of more than --brake-min, is held back until it is confirmed; 0 holds nothing back")
	flags.IntVar(&o.brake.BrakeMin, "brake-min", brake.BrakeMin, "a deletion of no more than so many Services is not held back; 0 holds nothing back")
	flags.StringVar(&o.config.ProxyConfigPath, "config", "", "configuration of the nodes: a file of Portolan's (Configuration) or kube-proxy's (KubeProxyConfiguration), followed without a restart")
	flags.StringVar(&o.config.Mode, "mode", "", "data plane of all nodes, whatever the configuration says: nftables or ipvs")
	flags.BoolVar(&o.config.LocalhostNodePorts, "localhost-node-ports", false, "have agents serve TCP node ports on 127.0.0.1 and ::1 too")
	flags.StringVar(&o.listen, "listen", "0.0.0.0:9440", "where agents connect")
	flags.StringVar(&o.admin, "admin-listen", "127.0.0.1:9441", "where portolan and grpcurl ask (loopback host:port, or unix:PATH); empty means nowhere")
	flags.StringVar(&o.metrics, "metrics-listen", "127.0.0.1:9442", "where to serve /metrics, /healthz and /readyz; empty means nowhere")
	flags.BoolVar(&o.stateMetrics, "kube-state-metrics", false, "export kube_service_* and kube_endpoint_address_* at /metrics too, for clusters without kube-state-metrics")
	flags.BoolVar(&o.profiling, "profiling", false, "serve /debug/pprof at --metrics-listen too")
	flags.StringVar(&o.agentAuth, "agent-auth", "", "how agents show which node they are on: token (of a pod's ServiceAccount), certificate (that names the node), or none (default: certificate with --tls-ca-file, else token with --tls-cert-file, else none)")
	flags.StringVar(&o.identity.AgentAudience, "agent-audience", controlplane.DefaultAgentAudience, "audience of agents' tokens")
	flags.StringVar(&o.identity.AgentServiceAccount, "agent-service-account", controlplane.DefaultAgentServiceAccount, "ServiceAccount of agents, NAMESPACE/NAME")
	flags.StringVar(&o.api, "api-listen", "", "where those ask over the network whom the cluster allows to, by a token (TokenReview, SubjectAccessReview); needs TLS; empty means nowhere")
	o.tracing.register(flags)
	o.tls.RegisterServer(flags)
	o.logging.Register(flags)
	return command
}

func (o *options) run(ctx context.Context) error {
	logger, err := o.logging.New("portolan-controlplane", os.Stderr)
	if err != nil {
		return err
	}
	kubelogging.SendTo(logger.Named("client-go"))
	config := controlplane.Config{
		Manifests: o.manifests, Kubeconfig: o.kubeconfig, ClusterID: o.cluster, ProxyConfig: o.config, BrakeConfig: o.brake, MaxStreams: o.maxStreams,
		MaxServicePorts: o.maxPorts, MaxServiceEndpoints: o.maxEndpoints,
		KubeStateMetrics: o.stateMetrics, Profiling: o.profiling,
		Instance: hostname(), Version: version.String(), Logger: logger, Rand: rand.Reader,
	}
	if config.TracingConfig, err = o.tracing.config(); err != nil {
		return err
	}
	if config.Agents, err = listen(ctx, "--listen", o.listen); err != nil {
		return err
	}
	if config.Credentials, err = o.tls.Server(config.Agents.Addr()); err != nil {
		return fmt.Errorf("--listen %s: %w", o.listen, err)
	}
	if config.IdentityConfig, err = o.identify(config.Agents.Addr()); err != nil {
		return err
	}
	if config.Admin, err = o.listenAdmin(ctx); err != nil {
		return err
	}
	if o.api != "" {
		if config.API, config.APICredentials, err = o.listenAPI(ctx); err != nil {
			return err
		}
	}
	if o.metrics != "" {
		if config.Metrics, err = listen(ctx, "--metrics-listen", o.metrics); err != nil {
			return err
		}
	}
	logger.Info("control plane starting", "agents", o.listen, "agent-auth", config.AgentAuth, "admin", o.admin, "api", o.api, "version", config.Version)
	return controlplane.Run(ctx, config)
}

// identify returns how agents are known on the address where they connect.
func (o *options) identify(address net.Addr) (controlplane.IdentityConfig, error) {
	identity := o.identity
	switch identity.AgentAuth = controlplane.AgentAuth(o.agentAuth); {
	case identity.AgentAuth != "":
	case o.tls.CA != "":
		identity.AgentAuth = controlplane.AgentAuthCertificate
	case o.tls.Cert != "" && o.manifests == "":
		identity.AgentAuth = controlplane.AgentAuthToken
	default:
		identity.AgentAuth = controlplane.AgentAuthNone
	}
	local := tlsflags.IsLocal(address)
	switch identity.AgentAuth {
	case controlplane.AgentAuthCertificate:
		if o.tls.CA == "" {
			return identity, errors.New("--agent-auth certificate: expected --tls-ca-file, --tls-cert-file and --tls-key-file")
		}
	case controlplane.AgentAuthToken:
		if o.manifests != "" {
			return identity, errors.New("--agent-auth token: expected an API server as the source, which knows tokens, and not --manifests")
		}
		if o.tls.Plaintext() && !local {
			return identity, fmt.Errorf("--agent-auth token: expected --tls-cert-file and --tls-key-file: tokens are not sent in plaintext to %s", o.listen)
		}
	case controlplane.AgentAuthNone:
		if !local && !o.tls.Insecure {
			return identity, fmt.Errorf("--listen %s: anybody who reaches it could say that he is any node: expected --agent-auth token or certificate, or --insecure", o.listen)
		}
	default:
		return identity, fmt.Errorf("--agent-auth %q: expected token, certificate or none", o.agentAuth)
	}
	return identity, nil
}

// listenAPI listens where people ask over the network.
func (o *options) listenAPI(ctx context.Context) (net.Listener, credentials.TransportCredentials, error) {
	if o.manifests != "" {
		return nil, nil, fmt.Errorf("--api-listen %s: expected an API server as the source, which knows who may ask, and not --manifests", o.api)
	}
	listener, err := listen(ctx, "--api-listen", o.api)
	if err != nil {
		return nil, nil, err
	}
	if o.tls.Cert == "" && !tlsflags.IsLocal(listener.Addr()) {
		_ = listener.Close()
		return nil, nil, fmt.Errorf("--api-listen %s: expected --tls-cert-file and --tls-key-file: tokens are not sent in plaintext", o.api)
	}
	// Who asks shows a token, not a certificate.
	server := tlsflags.Flags{Cert: o.tls.Cert, Key: o.tls.Key}
	transport, err := server.Server(listener.Addr())
	return listener, transport, err
}

// hostname is the pod's name where the process runs in one.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// listenAdmin listens where only this machine can connect: the admin listener has
// no authentication.
func (o *options) listenAdmin(ctx context.Context) (net.Listener, error) {
	if o.admin == "" {
		return nil, nil
	}
	listener, err := listen(ctx, "--admin-listen", o.admin)
	if err != nil {
		return nil, err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		_ = listener.Close()
		return nil, fmt.Errorf("--admin-listen %s: expected a loopback address or unix:PATH, because there is no authentication: --api-listen has it", o.admin)
	}
	return listener, nil
}
