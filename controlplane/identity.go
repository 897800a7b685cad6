package controlplane

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/limit"
	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/userauth"
)

// AgentAuth is how agents show which node they are on.
type AgentAuth string

// The ways.
const (
	// AgentAuthNone believes what they say.
	AgentAuthNone AgentAuth = "none"
	// AgentAuthToken wants a ServiceAccount token that is bound to a pod on the node.
	AgentAuthToken AgentAuth = "token"
	// AgentAuthCertificate wants a TLS certificate that names the node.
	AgentAuthCertificate AgentAuth = "certificate"
)

// IdentityConfig says how agents are known.
type IdentityConfig struct {
	// AgentAuth is how; empty means AgentAuthNone.
	AgentAuth AgentAuth
	// AgentAudience and AgentServiceAccount are what tokens must say; empty means the
	// defaults.
	AgentAudience, AgentServiceAccount string
}

// The defaults of what agents' tokens must say.
const (
	DefaultAgentAudience       = nodeauth.DefaultAudience
	DefaultAgentServiceAccount = nodeauth.DefaultServiceAccount
)

// agentAuth lets agents in and keeps what it needs for that up to date.
type agentAuth struct {
	nodeauth.Authorizer
	keys   *nodeauth.Keys
	logger hclog.Logger
	// refusals counts those that were not let in.
	refusals atomic.Uint64

	mu    sync.Mutex
	peers *limit.Buckets
}

// refusalRate is how often it is logged that a peer is not let in, of each address.
var refusalRate = limit.Rate{Burst: 1, Every: time.Minute}

// loggedPeers bounds the memory of who was logged.
const loggedPeers = 1024

// identify makes what lets agents and people in.
func (c *controlPlane) identify() error {
	if c.API != nil || c.AgentAuth == AgentAuthToken {
		if c.Manifests != "" {
			return fmt.Errorf("manifests as the source: expected an API server, which knows tokens, for --agent-auth=%s and --api-listen", AgentAuthToken)
		}
		cluster, err := kube.NewIdentity(c.Kubeconfig)
		if err != nil {
			return err
		}
		if c.API != nil {
			c.users = userauth.NewGate(cluster, time.Now)
		}
		if c.AgentAuth == AgentAuthToken {
			return c.identifyByToken(cluster)
		}
	}
	switch c.AgentAuth {
	case "", AgentAuthNone:
	case AgentAuthCertificate:
		c.agents = c.newAgentAuth()
	default:
		return fmt.Errorf("--agent-auth %q: expected %s, %s or %s", c.AgentAuth, AgentAuthToken, AgentAuthCertificate, AgentAuthNone)
	}
	return nil
}

func (c *controlPlane) newAgentAuth() *agentAuth {
	a := &agentAuth{logger: c.Logger.Named("nodeauth"), peers: limit.New(refusalRate, loggedPeers)}
	a.Refused = a.refused
	return a
}

func (c *controlPlane) identifyByToken(cluster *kube.Identity) error {
	policy := nodeauth.Policy{Audience: c.AgentAudience, ServiceAccount: c.AgentServiceAccount}
	if policy.Audience == "" {
		policy.Audience = DefaultAgentAudience
	}
	if policy.ServiceAccount == "" {
		policy.ServiceAccount = DefaultAgentServiceAccount
	}
	if err := policy.Check(); err != nil {
		return err
	}
	c.agents = c.newAgentAuth()
	c.agents.keys = nodeauth.NewKeys(cluster.Published, c.agents.logger, time.Now)
	c.agents.Verifier = nodeauth.NewVerifier(policy, c.agents.keys, time.Now)
	c.agents.Reviewer = nodeauth.NewReviewer(func(ctx context.Context, token string) (bool, error) {
		_, good, _, err := cluster.ReviewToken(ctx, token, policy.Audience)
		return good, err
	}, c.agents.logger, time.Now)
	return nil
}

// authorize returns what gives a stream the right to a node's view; nil if everybody has it.
func (c *controlPlane) authorize() func(context.Context, string) (nodeauth.Grant, error) {
	if c.agents == nil {
		return nil
	}
	return c.agents.Authorize
}

// run keeps keys and tokens up to date until the context ends.
func (a *agentAuth) run(ctx context.Context) error {
	if a.keys == nil {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.keys.Run(ctx) })
	group.Go(func() error { return a.Reviewer.Run(ctx) })
	return group.Wait()
}

// refusedPeers returns how many peers were not let in.
func (a *agentAuth) refusedPeers() uint64 {
	if a == nil {
		return 0
	}
	return a.refusals.Load()
}

// refused counts who is not let in, and says it, now and then.
func (a *agentAuth) refused(peer string, err error) {
	a.refusals.Add(1)
	host, _, splitErr := net.SplitHostPort(peer)
	if splitErr != nil {
		host = peer
	}
	a.mu.Lock()
	verdict := a.peers.Use(time.Now(), host)
	a.mu.Unlock()
	if !verdict.Refused {
		a.logger.Warn("a peer is not let in on the agents' port", "peer", peer, "reason", err)
	}
}
