// Package clustercheck looks at a cluster: whether its API server is one that Portolan can
// use, what its Nodes and Services have that will not be served, and how an installation is.
// It changes nothing.
package clustercheck

import (
	"context"
	"errors"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiversion "k8s.io/apimachinery/pkg/version"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Config says what to expect of a cluster.
type Config struct {
	// Before is set before an installation.
	Before bool
	// Namespace is that of the installation, Audience whom agents' tokens are for.
	Namespace, Audience string
	// Open connects to the API server.
	Open func() (*kube.Inspector, error)
	Now  func() time.Time
	// Limit is how long each check may take.
	Limit time.Duration
}

// inspection is what is looked at. What several checks look at is asked for once.
type inspection struct {
	Config
	api       func() (*reached, error)
	nodes     func() ([]corev1.Node, error)
	objects   func() (*kube.Objects, error)
	problems  func() ([]model.Problem, error)
	kubeProxy func() (*appsv1.DaemonSet, error)
	agents    func() (*appsv1.DaemonSet, error)
	planes    func() (*appsv1.Deployment, error)
}

// reached is an API server that answers.
type reached struct {
	*kube.Inspector
	version *apiversion.Info
	// clock is the API server's, as seen at the time of our own.
	clock, at time.Time
}

// Checks returns all checks of a cluster, in the order of their documentation.
func Checks(ctx context.Context, config Config) []check.Check {
	c := &inspection{Config: config}
	c.api = check.Once(ctx, config.Limit, c.reach)
	c.nodes = asked(ctx, c, func(ctx context.Context, api *reached) ([]corev1.Node, error) { return api.Nodes(ctx) })
	c.objects = asked(ctx, c, func(ctx context.Context, api *reached) (*kube.Objects, error) { return api.Objects(ctx) })
	c.problems = check.Once(ctx, config.Limit, func(context.Context) ([]model.Problem, error) { return c.findProblems() })
	c.kubeProxy = asked(ctx, c, func(ctx context.Context, api *reached) (*appsv1.DaemonSet, error) {
		return api.DaemonSet(ctx, "kube-system", "kube-proxy")
	})
	c.agents = asked(ctx, c, func(ctx context.Context, api *reached) (*appsv1.DaemonSet, error) {
		return api.DaemonSet(ctx, config.Namespace, agentName)
	})
	c.planes = asked(ctx, c, func(ctx context.Context, api *reached) (*appsv1.Deployment, error) {
		return api.Deployment(ctx, config.Namespace, controlPlaneName)
	})
	return slices.Concat(c.apiChecks(), c.rightsChecks(), c.kubeProxyChecks(), c.nodesChecks(), c.servicesChecks(), c.installChecks())
}

// asked asks the API server once, if it answers at all.
func asked[T any](ctx context.Context, c *inspection, ask func(context.Context, *reached) (T, error)) func() (T, error) {
	return check.Once(ctx, c.Limit, func(ctx context.Context) (T, error) {
		api, err := c.api()
		if err != nil {
			var none T
			return none, errAway
		}
		return ask(ctx, api)
	})
}

func (c *inspection) reach(ctx context.Context) (*reached, error) {
	inspector, err := c.Open()
	if err != nil {
		return nil, err
	}
	r := &reached{Inspector: inspector}
	r.version, r.clock, err = inspector.Version(ctx)
	r.at = c.Now()
	return r, err
}

// errAway is for all checks but the one that says why.
var errAway = errors.New("the API server does not answer")

// unanswered turns an error into a finding: what is not allowed is not looked at.
func unanswered(err error) check.Finding {
	text := check.OneLine(err)
	switch {
	case errors.Is(err, errAway):
		return check.Skipped("%s", text)
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return check.Skipped("you may not look at it: %s", text).Do("Use a kubeconfig with the right to it.")
	default:
		return check.Failed("%s", text).Do("See that the API server is well.")
	}
}

// looksAt makes a check of a function that asks the API server.
func (c *inspection) looksAt(when check.When, id, title string, look func(context.Context, *reached) check.Finding) check.Check {
	return check.New(check.Cluster, when, id, title, func(ctx context.Context) check.Finding {
		api, err := c.api()
		if err != nil {
			return unanswered(errAway)
		}
		return look(ctx, api)
	})
}

// judges makes a check of a decision about what is asked for once.
func judges[T any](when check.When, id, title string, find func() (T, error), judge func(T) check.Finding) check.Check {
	return check.New(check.Cluster, when, id, title, func(context.Context) check.Finding {
		found, err := find()
		if err != nil {
			return unanswered(err)
		}
		return judge(found)
	})
}
