package agent

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/portolan-net/portolan/agent/internal/nodecheck"
	"github.com/portolan-net/portolan/api/check"
)

// CheckConfig says what to look at on a node, and what to expect.
type CheckConfig struct {
	// Config is the agent's. Its DialOptions are not used: Dial makes them.
	Config
	// Before is set before an installation, IPVS for a node in mode ipvs.
	Before, IPVS bool
	// CAFile, ServerName and CertFile are the agent's for TLS, TokenFile has its token;
	// empty means none.
	CAFile, ServerName, CertFile, TokenFile string
	// Audience and ServiceAccount, "namespace/name", are what the token is to say.
	Audience, ServiceAccount string
	// Limit is how long each check may take.
	Limit time.Duration
	// Dial makes the options to connect to a control plane with.
	Dial func() ([]grpc.DialOption, error)
	// Probe runs ProbeKernel in a namespace to throw away.
	Probe func(context.Context) (ProbedKernel, error)
}

// ProbedKernel says by the name of each probe what the kernel refused.
type ProbedKernel = nodecheck.Probed

// ProbeKernel tries what a node needs of its kernel. The network namespace of the process
// must be one to throw away.
func ProbeKernel(ctx context.Context) ProbedKernel { return nodecheck.Probe(ctx) }

// Checks returns all checks of a node; which of them to run is the caller's to say.
func Checks(ctx context.Context, config CheckConfig) []check.Check {
	return nodecheck.Checks(ctx, nodecheck.Config{
		Before: config.Before, Node: config.Node, IPVS: config.IPVS, Servers: config.Servers,
		CAFile: config.CAFile, ServerName: config.ServerName, CertFile: config.CertFile, TokenFile: config.TokenFile,
		Audience: config.Audience, ServiceAccount: config.ServiceAccount,
		CheckpointPath: config.CheckpointPath, HealthAddress: config.HealthAddress,
		Root: "/", Now: time.Now, Limit: config.Limit, Probe: config.Probe,
		Configure: func(ctx context.Context) (err error) {
			asks := config.Config
			if asks.DialOptions, err = config.Dial(); err == nil {
				// Sooner than the check, so that it can say why.
				_, err = askForConfig(ctx, asks, config.Limit*9/10)
			}
			return err
		},
	})
}
