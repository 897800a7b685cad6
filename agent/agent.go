// Package agent is a node's half of Portolan: it subscribes to the control plane
// and keeps the node's kernel equal to what it is told. This package is wiring
// only.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/agent/internal/conntrack"
	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/agent/internal/healthcheck"
	"github.com/portolan-net/portolan/agent/internal/localhost"
	"github.com/portolan-net/portolan/agent/internal/metrics"
	"github.com/portolan-net/portolan/agent/internal/nodeaddr"
	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
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
	Version                       string
	// Instance differs at each start of the process.
	Instance string
	Logger   hclog.Logger
}

// The limits of an agent that is not told otherwise. An element takes about a
// hundred bytes of the kernel's memory.
const (
	DefaultMaxServiceElements = 200_000
	DefaultMaxElements        = 2_000_000
)

// Mode is the name of the data plane, as kube-proxy's /proxyMode reports it.
const Mode = "nftables"

// Run works until the context ends. The rules stay in the kernel.
func Run(ctx context.Context, config Config) error {
	planes, err := openPlanes(config.Logger.Named("nftables"))
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, config, planes), closePlanes(planes))
}

// openPlanes opens the data plane of each address family.
func openPlanes(logger hclog.Logger) ([]dataplane.Dataplane, error) {
	var planes []dataplane.Dataplane
	for _, family := range []dataplane.Family{dataplane.IPv4, dataplane.IPv6} {
		plane, err := nftables.Open(logger, family)
		if err != nil {
			return nil, errors.Join(err, closePlanes(planes))
		}
		planes = append(planes, plane)
	}
	return planes, nil
}

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
	observed := metrics.New(func() subscribe.Status { return subscriber.Status() }, config.Version, time.Now)
	cleaner := conntrack.New(config.Logger.Named("conntrack"), observed.Conntrack)
	localhostPorts := localhost.New(config.Logger.Named("localhost"))
	var loop *reconcile.Loop
	checks := healthcheck.New(config.Logger.Named("healthcheck"), func() bool { healthy, _ := observed.Health(); return healthy },
		func(list []*discoveryv1.Warning) { loop.Warn("health checks", list) })
	loop = reconcile.New(reconcile.Config{
		Node: config.Node, Dataplanes: planes, Logger: config.Logger.Named("reconcile"),
		Addresses: nodeaddr.List, AddressesChanged: changed,
		Sysctls:        sysctl.Tree{Root: "/", CPUs: runtime.NumCPU()}.Apply,
		CleanConntrack: cleaner.Clean, HealthChecks: checks.Update, LocalhostPorts: localhostPorts.Update,
		Acknowledge:    func(r subscribe.Result) bool { return subscriber.Acknowledge(r) },
		Limits:         ruleset.Limits{Service: config.MaxServiceElements, Node: config.MaxElements},
		CheckpointPath: config.CheckpointPath, Observer: observed, Now: time.Now,
	}, restored, header)
	subscriber, err = subscribe.New(subscription(config, loop, restored, header))
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	group.Go(func() error { return loop.Run(ctx) })
	group.Go(func() error { return subscriber.Run(ctx) })
	group.Go(func() error { return cleaner.Run(ctx) })
	group.Go(func() error { return checks.Run(ctx) })
	group.Go(func() error { return localhostPorts.Run(ctx) })
	group.Go(func() error {
		return serving("health", metrics.Serve(ctx, config.HealthAddress, observed.HealthHandler()))
	})
	group.Go(func() error {
		return serving("metrics", metrics.Serve(ctx, config.MetricsAddress, observed.MetricsHandler(Mode)))
	})
	config.Logger.Info("agent started", "node", config.Node, "servers", config.Servers, "version", config.Version)
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	config.Logger.Info("agent stopped; the rules stay in the kernel")
	return nil
}

func serving(what string, err error) error {
	if err != nil {
		return fmt.Errorf("serving %s: %w", what, err)
	}
	return nil
}

// restore reads the checkpoint. One that cannot be used is as good as none.
func restore(config Config) (*state.State, state.Checkpoint) {
	if config.CheckpointPath == "" {
		return nil, state.Checkpoint{}
	}
	restored, header, err := state.ReadFile(config.CheckpointPath, config.Node)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, state.Checkpoint{}
	case err != nil:
		config.Logger.Warn("not using the checkpoint", "error", err)
		return nil, state.Checkpoint{}
	}
	return restored, header
}

func subscription(config Config, loop *reconcile.Loop, restored *state.State, header state.Checkpoint) subscribe.Config {
	subscription := subscribe.Config{
		Addresses: config.Servers, DialOptions: config.DialOptions,
		Node:    &discoveryv1.Node{Id: config.Node, AgentVersion: config.Version, Instance: config.Instance},
		Handler: loop, Logger: config.Logger.Named("subscribe"),
	}
	// What was written under another schema is no base for deltas: fields that
	// this agent knows and that one did not would be missing for ever.
	if restored != nil && header.Schema == state.Schema() {
		subscription.Held, subscription.HeldSource = restored.Held(), header.Source.Proto()
	}
	return subscription
}

// Cleanup removes everything that an agent has put into the kernel of this
// network namespace.
func Cleanup(ctx context.Context, logger hclog.Logger) error {
	planes, err := openPlanes(logger)
	if err != nil {
		return err
	}
	var errs []error
	for _, plane := range planes {
		errs = append(errs, plane.Cleanup(ctx))
	}
	return errors.Join(append(errs, closePlanes(planes))...)
}

// Apply puts resources into the kernel once, replacing what an agent had put
// there. It returns the resources that could not be used.
func Apply(ctx context.Context, node string, resources []*discoveryv1.Resource, logger hclog.Logger) ([]*discoveryv1.RejectedResource, error) {
	planes, err := openPlanes(logger)
	if err != nil {
		return nil, err
	}
	rejected, err := reconcile.Once(ctx, reconcile.Config{
		Node: node, Dataplanes: planes, Logger: logger, Addresses: nodeaddr.List, Now: time.Now,
		CleanConntrack: func(serving ruleset.Serving) {
			if _, err := conntrack.Remove(ctx, serving); err != nil {
				logger.Warn("cannot remove connections to UDP endpoints that have gone", "error", err)
			}
		},
	}, resources)
	return rejected, errors.Join(err, closePlanes(planes))
}
