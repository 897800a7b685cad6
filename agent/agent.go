// Package agent is a node's half of Portolan: it subscribes to the control plane
// and keeps the node's kernel equal to what it is told. This package is wiring
// only.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/agent/internal/conntrack"
	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/ipvs"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/agent/internal/healthcheck"
	"github.com/portolan-net/portolan/agent/internal/localhost"
	"github.com/portolan-net/portolan/agent/internal/metrics"
	"github.com/portolan-net/portolan/agent/internal/nodeaddr"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
	"github.com/portolan-net/portolan/agent/internal/unused"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// Config says where an agent finds what it needs.
type Config struct {
	// Node is the Kubernetes Node's name.
	Node string
	// Servers are the control plane's addresses, "host:port" each. They must be
	// reachable without Services: the agent is what makes Services work.
	Servers []string
	// DialOptions must hold the transport credentials.
	DialOptions []grpc.DialOption
	// CheckpointPath is the file that keeps the state over reboots; empty means none.
	CheckpointPath string
	// MaxServiceElements and MaxElements bound what one Service, and all Services,
	// may take of the kernel, whatever the control plane says: elements of maps,
	// about one for each backend of each frontend. Zero means no limit.
	MaxServiceElements, MaxElements int
	// HealthAddress and MetricsAddress are listen addresses; empty means none.
	HealthAddress, MetricsAddress string
	// BindHardFail ends the agent if it cannot listen on them.
	BindHardFail bool
	// Profiling serves profiles beside the metrics.
	Profiling bool
	// ServiceTrafficPeriod is how often to read the kernel's connection table to count
	// connections and bytes of Services; zero means that nobody counts.
	ServiceTrafficPeriod time.Duration
	// Flags has the value of every flag, to be served.
	Flags   map[string]string
	Version string
	// Instance differs at each start of the process.
	Instance string
	Logger   hclog.Logger
}

// Where an agent that is not told otherwise keeps its checkpoint and serves its health.
const (
	DefaultCheckpoint    = "/var/lib/portolan/checkpoint"
	DefaultHealthAddress = "0.0.0.0:10256"
)

// The limits of an agent that is not told otherwise. An element takes about a
// hundred bytes of the kernel's memory.
const (
	DefaultMaxServiceElements = 200_000
	DefaultMaxElements        = 2_000_000
)

// Run works until the context ends. The rules stay in the kernel.
func Run(ctx context.Context, config Config) error {
	planes, err := openPlanes(config.Logger.Named("dataplane"))
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, config, planes), closePlanes(planes))
}

// openPlanes opens the data plane of each address family.
func openPlanes(logger hclog.Logger) ([]dataplane.Dataplane, error) {
	opened, err := nftables.Open(logger, dataplane.IPv4, dataplane.IPv6)
	if err != nil {
		return nil, err
	}
	var planes []dataplane.Dataplane
	for i, beside := range opened {
		plane, err := ipvs.New(logger, beside, kernel())
		if err != nil {
			for _, unused := range opened[i:] {
				err = errors.Join(err, unused.Close())
			}
			return nil, errors.Join(err, closePlanes(planes))
		}
		planes = append(planes, plane)
	}
	return planes, nil
}

// addresses lists the node's own addresses, without those of Services that are bound to it.
func addresses() ([]netip.Addr, error) { return nodeaddr.List(dataplane.ServiceInterface) }

func closePlanes(planes []dataplane.Dataplane) error {
	var errs []error
	for _, plane := range planes {
		errs = append(errs, plane.Close())
	}
	return errors.Join(errs...)
}

func run(ctx context.Context, config Config, planes []dataplane.Dataplane) error {
	restored, header := restore(config)
	group, ctx := errgroup.WithContext(ctx)
	changed, err := nodeaddr.Watch(ctx)
	if err != nil {
		return err
	}
	// The loop answers through the subscriber and the subscriber calls the loop, as
	// the health checks do; closures that are called later break the circles.
	var subscriber *subscribe.Subscriber
	meter := newMeter(config)
	observed := metrics.New(metrics.Config{
		Status: func() subscribe.Status { return subscriber.Status() }, Traffic: meter, Version: config.Version, Now: time.Now,
	})
	cleaner := conntrack.New(config.Logger.Named("conntrack"), observed.Conntrack)
	localhostPorts := localhost.New(config.Logger.Named("localhost"))
	var loop *reconcile.Loop
	checks := healthcheck.New(config.Logger.Named("healthcheck"), observed.Health.Healthy,
		func(list []*discoveryv1.Warning) { loop.Warn("health checks", list) })
	loop = reconcile.New(reconcile.Config{
		Node: config.Node, Dataplanes: planes, Logger: config.Logger.Named("reconcile"),
		Addresses: addresses, AddressesChanged: changed,
		Sysctls:        setSysctls(kernel(), observed),
		CleanConntrack: cleaner.Clean, HealthChecks: checks.Update, LocalhostPorts: localhostPorts.Update,
		Frontends:      frontends(meter),
		Acknowledge:    func(r subscribe.Result) bool { return subscriber.Acknowledge(r) },
		Limits:         ruleset.Limits{Service: config.MaxServiceElements, Node: config.MaxElements},
		CheckpointPath: config.CheckpointPath, Observer: observed, Now: time.Now,
	}, restored, header)
	subscriber, err = subscribe.New(subscription(config, loop, restored, header))
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	endpoints := unused.New(unused.Config{
		Servers: config.Servers, Addresses: addresses, Logger: config.Logger.Named("unused"),
		Dial: func(server string) (*grpc.ClientConn, error) { return subscribe.Dial(server, config.DialOptions...) },
	})
	defer func() { _ = endpoints.Close() }()
	parts := append(listeners(config, observed, endpoints), loop.Run, subscriber.Run, cleaner.Run, checks.Run, localhostPorts.Run)
	if meter != nil {
		parts = append(parts, meter.Run)
	}
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	config.Logger.Info("agent started", "node", config.Node, "servers", config.Servers, "version", config.Version)
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	config.Logger.Info("agent stopped; the rules stay in the kernel")
	return nil
}

// setSysctls goes on after a failure: a node whose rules stop to follow the cluster
// is worse off than one whose conntrack table is small.
func setSysctls(tree sysctl.Tree, observed *metrics.Metrics) func(*discoveryv1.Conntrack) error {
	return func(config *discoveryv1.Conntrack) error {
		report := tree.Apply(config)
		observed.Sysctls(len(report.Failures))
		return report.Err()
	}
}

func kernel() sysctl.Tree { return sysctl.Tree{Root: "/", CPUs: runtime.NumCPU()} }
