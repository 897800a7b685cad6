package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/admin"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/portolan-net/portolan/controlplane/internal/administration"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/configfile"
	"github.com/portolan-net/portolan/controlplane/internal/discovery"
	"github.com/portolan-net/portolan/controlplane/internal/events"
	"github.com/portolan-net/portolan/controlplane/internal/introspection"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/manifest"
	"github.com/portolan-net/portolan/controlplane/internal/metrics"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
	"github.com/portolan-net/portolan/controlplane/internal/rollout"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
	"github.com/portolan-net/portolan/controlplane/internal/statemetrics"
	"github.com/portolan-net/portolan/controlplane/internal/tracing"
	"github.com/portolan-net/portolan/controlplane/internal/userauth"
)

// Config says where a control plane finds what it needs.
type Config struct {
	// Manifests is a file or directory of Kubernetes objects to serve. If it is
	// empty, the API server of Kubeconfig is the source, or, if that is empty too,
	// that of the cluster that the process runs in.
	Manifests  string
	Kubeconfig string
	// ClusterID is the same on all replicas of one cluster.
	ClusterID string
	// MaxServicePorts is how many ports a Service may have; zero means the default.
	MaxServicePorts int
	// MaxServiceEndpoints is how many endpoints a Service may have, counted once for
	// each port that they serve; zero means the default.
	MaxServiceEndpoints int
	// MaxStreams bounds the open streams of all agents; zero means the default.
	MaxStreams int
	ProxyConfig
	BrakeConfig
	IdentityConfig
	TracingConfig

	// Agents is where agents connect; nil serves none. Credentials are its TLS.
	Agents      net.Listener
	Credentials credentials.TransportCredentials
	// Admin is where people ask, in plaintext; it must be a local listener.
	Admin net.Listener
	// API is where people ask over the network, as far as the cluster allows them to; nil
	// serves none. APICredentials are its TLS.
	API            net.Listener
	APICredentials credentials.TransportCredentials
	// Metrics is where Prometheus and probes ask; nil serves none.
	Metrics net.Listener
	// KubeStateMetrics exports what kube-state-metrics says of Services, too, Profiling
	// serves profiles.
	KubeStateMetrics, Profiling bool

	// Instance tells this replica from others: in Events, traces, and what it says of nodes.
	Instance string
	Version  string
	Logger   hclog.Logger
	Rand     Reader
}

// drainTime is how long streams have to end when the control plane stops.
const drainTime = 2 * time.Second

// controlPlane is the parts, wired.
type controlPlane struct {
	Config
	objects *cluster.Store
	// state is what kube-state-metrics would say; nil if that is not asked for.
	state     *statemetrics.State
	snapshots *snapshot.Store
	discovery *discovery.Server
	intro     *introspection.Server
	rollout   *rollout.Server
	orders    *administration.Server
	metrics   *metrics.Metrics
	driver    *round.Driver
	health    *health.Server
	// configuration is nil if the nodes have the default configuration.
	configuration *configfile.File
	// events is nil unless the source is an API server.
	events *events.Recorder
	// agents lets agents in; nil if nobody is asked who he is.
	agents *agentAuth
	// tracer is nil if nothing is traced.
	tracer *tracing.Tracer
	// users lets people in over the network; nil if that is not served.
	users *userauth.Gate
}

// Run serves until the context ends.
func Run(ctx context.Context, config Config) error {
	c, err := assemble(config)
	if err != nil {
		return err
	}
	return c.run(ctx)
}

func (c *controlPlane) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.source(ctx) })
	group.Go(func() error { return c.driver.Run(ctx) })
	group.Go(func() error { c.discovery.ReportHealth(ctx, c.health); return nil })
	if c.configuration != nil {
		group.Go(func() error { return c.configuration.Run(ctx) })
	}
	if c.events != nil {
		group.Go(func() error { return c.events.Run(ctx) })
	}
	if c.agents != nil {
		group.Go(func() error { return c.agents.run(ctx) })
	}
	if c.tracer != nil {
		group.Go(func() error { return c.tracer.Run(ctx) })
	}
	if c.Agents != nil {
		group.Go(func() error { return c.serve(ctx, c.Agents, c.agentServer()) })
	}
	if c.API != nil {
		group.Go(func() error { return c.serve(ctx, c.API, c.apiServer()) })
	}
	if c.Admin != nil {
		group.Go(func() error { return c.serve(ctx, c.Admin, c.adminServer()) })
	}
	if c.Metrics != nil {
		group.Go(func() error { return metrics.Serve(ctx, c.Metrics, c.metrics.Handler()) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	c.Logger.Info("control plane stopped; nodes keep their rules")
	return nil
}

func assemble(config Config) (*controlPlane, error) {
	c := &controlPlane{
		Config: config, objects: cluster.NewStore(),
		snapshots: snapshot.NewStore(time.Now), health: health.NewServer(),
	}
	if c.MaxStreams < 0 {
		return nil, fmt.Errorf("--max-streams %d: expected a number of streams, or 0 for the default", c.MaxStreams)
	}
	settings, err := c.configure()
	if err != nil {
		return nil, err
	}
	if err := c.recordEvents(); err != nil {
		return nil, err
	}
	if err := c.trace(); err != nil {
		return nil, err
	}
	limits, err := c.brakeLimits()
	if err != nil {
		return nil, err
	}
	list, err := c.lister()
	if err != nil {
		return nil, err
	}
	if err := c.identify(); err != nil {
		return nil, err
	}
	registry := nodes.NewRegistry(nodes.Config{Now: time.Now, Known: func(node string) bool { return c.objects.Node(node) != nil }})
	var others []prometheus.Collector
	if config.KubeStateMetrics {
		c.state = statemetrics.New()
		others = append(others, c.state)
	}
	c.metrics = metrics.New(metrics.Config{
		Cluster: c.objects, Snapshots: c.snapshots, Nodes: registry, Version: config.Version,
		Stats: func() discovery.Stats { return c.discovery.Stats() }, Events: c.eventStats, Traces: c.traceStats,
		Held: func() brake.State { return c.driver.Held() }, Unauthenticated: c.agents.refusedPeers,
		Others: others, Profiling: config.Profiling,
	})
	c.discovery, err = discovery.New(discovery.Config{
		Snapshots: c.snapshots, Nodes: registry, Logger: config.Logger.Named("discovery"),
		MaxStreams: c.MaxStreams, Doubt: func(held, served int) bool { return c.driver.Doubt(held, served) },
		Observe: c.acknowledged(), Pushed: c.pushed(), Events: c.discoveryEvents(), Now: time.Now, Authorize: c.authorize(),
	})
	if err != nil {
		return nil, err
	}
	c.driver = round.New(round.Config{
		Cluster: c.objects, Snapshots: c.snapshots, Settings: settings, MaxServiceEndpoints: c.MaxServiceEndpoints,
		Logger: config.Logger.Named("compile"), Observe: c.rounds(),
		Brake: limits, List: list,
	})
	c.intro = introspection.New(introspection.Config{Replica: c.Instance, Snapshots: c.snapshots, Nodes: registry, Cluster: c.objects, Explainer: explainer{c.objects, c.driver}, Group: c.group, Compare: c.discovery.Compare, Held: c.driver.Held, Now: time.Now})
	if c.rollout, err = c.newRollout(registry); err != nil {
		return nil, err
	}
	c.orders = administration.New(administration.Config{Brake: c.driver, Logger: config.Logger.Named("admin")})
	return c, nil
}

func (c Config) admissionLimits() admission.Limits {
	limits := admission.DefaultLimits()
	if c.MaxServicePorts > 0 {
		limits.PortsPerService = c.MaxServicePorts
	}
	return limits
}

// source feeds the cluster store until the context ends.
func (c *controlPlane) source(ctx context.Context) error {
	writer := admission.NewWriter(c.objects, c.Logger.Named("admission"), c.admissionLimits())
	if c.state != nil {
		writer.Observe(c.state)
	}
	if c.Manifests == "" {
		return kube.Run(ctx, kube.Config{Kubeconfig: c.Kubeconfig, ClusterID: c.ClusterID, Logger: c.Logger.Named("kube"), Writer: writer})
	}
	source, err := manifest.New(manifest.Config{Path: c.Manifests, Writer: writer, Logger: c.Logger.Named("manifest"), Rand: c.Rand})
	if err != nil {
		return err
	}
	return source.Watch(ctx)
}

// agentServer serves agents; it has no reflection, so that an unauthenticated
// peer learns nothing.
func (c *controlPlane) agentServer() *grpc.Server {
	options := discovery.ServerOptions()
	if c.Credentials != nil {
		options = append(options, grpc.Creds(c.Credentials))
	}
	if c.agents != nil {
		options = append(options, grpc.StreamInterceptor(c.agents.StreamInterceptor), grpc.UnaryInterceptor(c.agents.UnaryInterceptor))
	}
	server := grpc.NewServer(options...)
	discovery.Register(server, c.discovery)
	rollout.Register(server, c.rollout)
	healthpb.RegisterHealthServer(server, c.health)
	return server
}

// adminServer serves people: the same streams, answers, and what gRPC tools ask.
func (c *controlPlane) adminServer() *grpc.Server {
	return c.forPeople(grpc.StreamInterceptor(nodeauth.Trust))
}

// apiServer serves those whom the cluster allows to ask.
func (c *controlPlane) apiServer() *grpc.Server {
	options := []grpc.ServerOption{grpc.UnaryInterceptor(c.users.UnaryInterceptor), grpc.ChainStreamInterceptor(c.users.StreamInterceptor, nodeauth.Trust)}
	if c.APICredentials != nil {
		options = append(options, grpc.Creds(c.APICredentials))
	}
	return c.forPeople(options...)
}

func (c *controlPlane) forPeople(options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append(discovery.AdminOptions(), options...)...)
	discovery.Register(server, c.discovery)
	introspection.Register(server, c.intro)
	rollout.Register(server, c.rollout)
	administration.Register(server, c.orders)
	healthpb.RegisterHealthServer(server, c.health)
	reflection.Register(server)
	if _, err := admin.Register(server); err != nil {
		c.Logger.Warn("no channelz", "error", err)
	}
	return server
}

// serve serves until the context ends, then ends streams, which sends agents to
// another replica.
func (c *controlPlane) serve(ctx context.Context, listener net.Listener, server *grpc.Server) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving gRPC on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	c.discovery.Shutdown()
	stopped := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(drainTime):
		// Not waited for: a peer that has connected and says nothing would hold it up
		// until grpc's connection timeout.
		go server.Stop()
	}
	return nil
}
