package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// Init sets the kernel up as the node's configuration asks for, and returns what it
// set, in a line. It is for an init container with more privileges than the agent.
//
// The configuration is that of the control plane; if none answers in time, that of
// the checkpoint. In contrast to the running agent, a setting that cannot be made
// is an error.
func Init(ctx context.Context, config Config, timeout time.Duration) (string, error) {
	return initialize(ctx, config, timeout, kernel())
}

func initialize(ctx context.Context, config Config, timeout time.Duration, tree sysctl.Tree) (string, error) {
	found, from, err := findConfig(ctx, config, timeout)
	if err != nil {
		return "", err
	}
	report := tree.Apply(found.Conntrack)
	if found.Mode == discoveryv1.ProxyMode_PROXY_MODE_IPVS {
		report = report.And(tree.ApplyIPVS(found.IPVS.GetStrictArp()))
	}
	if config.ServiceTrafficPeriod > 0 {
		report = report.And(tree.ApplyAccounting())
	}
	if err := report.Err(); err != nil {
		return "", fmt.Errorf("node %q: %w", config.Node, err)
	}
	return report.String() + ", as " + from + " says", nil
}

// findConfig returns the node's configuration and where it is from.
func findConfig(ctx context.Context, config Config, timeout time.Duration) (*state.NodeConfig, string, error) {
	found, err := askForConfig(ctx, config, timeout)
	if err == nil {
		return found, "the control plane", nil
	}
	if ctx.Err() != nil || !errors.Is(err, errUnanswered) {
		return nil, "", err
	}
	if config.CheckpointPath == "" {
		return nil, "", fmt.Errorf("%w; and there is no checkpoint, since --checkpoint-file is empty", err)
	}
	restored, _ := restore(config)
	if restored == nil || restored.Config() == nil {
		return nil, "", fmt.Errorf("%w; and there is none in the checkpoint %s", err, config.CheckpointPath)
	}
	config.Logger.Warn("using the checkpoint's configuration", "error", err, "checkpoint", config.CheckpointPath)
	return restored.Config(), "the checkpoint", nil
}

var errUnanswered = errors.New("no control plane has had a configuration")

// askForConfig subscribes to the node's configuration alone and waits for it.
func askForConfig(ctx context.Context, config Config, timeout time.Duration) (*state.NodeConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer := make(configAnswer, 1)
	subscriber, err := subscribe.New(subscribe.Config{
		Addresses: config.Servers, DialOptions: config.DialOptions,
		Node:  &discoveryv1.Node{Id: config.Node, AgentVersion: config.Version, Instance: config.Instance},
		Kinds: []discoveryv1.Kind{discoveryv1.Kind_KIND_NODE_CONFIG},
		// Beside an agent that runs, whose stream an acknowledgement would take over.
		Observe: true,
		Handler: answer, Logger: config.Logger.Named("subscribe"),
	})
	if err != nil {
		return nil, fmt.Errorf("subscribing: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = subscriber.Run(ctx)
	}()
	select {
	case first := <-answer:
		cancel()
		<-done
		return first.config, first.err
	case <-ctx.Done():
		<-done
		why := "the cluster has no Node of this name"
		if status := subscriber.Status(); status.Transactions == 0 {
			why = "last error: " + cmp.Or(status.LastError, "no answer")
		}
		return nil, fmt.Errorf("%w for node %q within %s (%s)", errUnanswered, config.Node, timeout, why)
	}
}

// configAnswer receives what the control plane says of the node. It implements
// subscribe.Handler.
type configAnswer chan said

type said struct {
	config *state.NodeConfig
	err    error
}

// Apply hands a configuration on. There is none while the cluster does not know the
// Node.
func (a configAnswer) Apply(_ context.Context, tx *subscribe.Transaction) subscribe.Result {
	held := state.New()
	_, rejected := held.Apply(tx.Resources.All(), nil)
	if held.Config() == nil && len(rejected) == 0 {
		return subscribe.Result{}
	}
	answer := said{config: held.Config()}
	if len(rejected) > 0 {
		answer.err = fmt.Errorf("the configuration of node %q cannot be used: %s", rejected[0].GetName().GetName(), rejected[0].GetReason())
	}
	select {
	case a <- answer:
	default: // The first one is enough.
	}
	return subscribe.Result{}
}
