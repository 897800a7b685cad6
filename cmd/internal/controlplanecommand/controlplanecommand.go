// Package controlplanecommand is the command line of portolan-controlplane.
package controlplanecommand

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

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
	o.tls.Register(flags, "agents")
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
		Instance: hostname(), Version: version.String(), Logger: logger, Rand: rand.Reader,
	}
	if config.Agents, err = listen(ctx, "--listen", o.listen); err != nil {
		return err
	}
	if config.Credentials, err = o.tls.Server(config.Agents.Addr()); err != nil {
		return fmt.Errorf("--listen %s: %w", o.listen, err)
	}
	if config.Admin, err = o.listenAdmin(ctx); err != nil {
		return err
	}
	if o.metrics != "" {
		if config.Metrics, err = listen(ctx, "--metrics-listen", o.metrics); err != nil {
			return err
		}
	}
	logger.Info("control plane starting", "agents", o.listen, "admin", o.admin, "version", config.Version)
	return controlplane.Run(ctx, config)
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
		return nil, fmt.Errorf("--admin-listen %s: expected a loopback address or unix:PATH, because there is no authentication", o.admin)
	}
	return listener, nil
}
