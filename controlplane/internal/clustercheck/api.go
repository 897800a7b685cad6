package clustercheck

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/portolan-net/portolan/api/check"
)

func (c *inspection) apiChecks() []check.Check {
	serves := func(when check.When, id, groupVersion, resource string, missing check.Finding) check.Check {
		title := fmt.Sprintf("the API server has %s of %s", resource, groupVersion)
		return c.looksAt(when, id, title, func(_ context.Context, api *reached) check.Finding {
			has, err := api.Serves(groupVersion, resource)
			switch {
			case err != nil:
				return unanswered(err)
			case !has:
				return missing
			default:
				return check.Passed("the API server has %s of %s", resource, groupVersion)
			}
		})
	}
	return []check.Check{
		check.New(check.Cluster, check.Always, "apiserver-reachable", "the API server answers", c.reachable),
		c.looksAt(check.Always, "apiserver-version", "the API server is of Kubernetes 1.30 or later", func(_ context.Context, api *reached) check.Finding {
			return judgeVersion(api.version.GitVersion)
		}),
		c.looksAt(check.Always, "apiserver-clock", "this machine's clock agrees with the API server's", func(_ context.Context, api *reached) check.Finding {
			return judgeSkew(api.clock, api.at)
		}),
		serves(check.Always, "apiserver-endpointslices", "discovery.k8s.io/v1", "endpointslices",
			check.Failed("the API server has no EndpointSlices: expected discovery.k8s.io/v1").Do("Upgrade the cluster, or enable the API.")),
		serves(check.Always, "apiserver-servicecidrs", "networking.k8s.io/v1", "servicecidrs",
			check.Warned("the API server has no ServiceCIDRs: packets to ClusterIPs that no Service has are not dropped").Do("Nothing, or upgrade to Kubernetes 1.33 or later.")),
		serves(check.Always, "apiserver-tokenreviews", "authentication.k8s.io/v1", "tokenreviews",
			check.Failed("the API server has no TokenReviews: expected them: nobody can be known by a token").Do("Enable authentication.k8s.io/v1.")),
		serves(check.Always, "apiserver-accessreviews", "authorization.k8s.io/v1", "subjectaccessreviews",
			check.Failed("the API server has no SubjectAccessReviews: expected them: nobody can be let in over the network").Do("Enable authorization.k8s.io/v1.")),
		c.looksAt(check.Always, "apiserver-token-keys", "the API server publishes who signs tokens", tokenKeys),
	}
}

func (c *inspection) reachable(context.Context) check.Finding {
	api, err := c.api()
	if err != nil {
		return check.Failed("%s", check.OneLine(err)).Do("Give --kubeconfig, and see that the API server answers kubectl.")
	}
	return check.Passed("the API server answers, Kubernetes %s", api.version.GitVersion)
}

func judgeVersion(version string) check.Finding {
	const major, minor = 1, 30
	var have [2]int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &have[0], &have[1]); err != nil {
		return check.Skipped("the API server's version is %q: expected MAJOR.MINOR", version)
	}
	if have[0] < major || have[0] == major && have[1] < minor {
		return check.Failed("the API server is of Kubernetes %s: expected %d.%d or later, whose tokens name the node", version, major, minor).Do("Upgrade the cluster, or let agents in by certificates (--agent-auth certificate).")
	}
	return check.Passed("the API server is of Kubernetes %s", version)
}

func judgeSkew(theirs, ours time.Time) check.Finding {
	// A header has whole seconds.
	const some, much = 5 * time.Second, 30 * time.Second
	if theirs.IsZero() {
		return check.Skipped("the API server does not tell the time")
	}
	skew := ours.Sub(theirs).Round(time.Second)
	switch {
	case skew.Abs() > much:
		return check.Failed("this machine's clock is off by %s from the API server's: expected less than %s: tokens are not valid then", skew, much).Do("Set the clocks, and keep them right.")
	case skew.Abs() > some:
		return check.Warned("this machine's clock is off by %s from the API server's: expected less than %s", skew, some).Do("Set the clocks, and keep them right.")
	default:
		return check.Passed("this machine's clock agrees with the API server's to a few seconds")
	}
}

// tokenKeys reads what a control plane verifies agents' tokens by.
func tokenKeys(ctx context.Context, api *reached) check.Finding {
	published, err := api.Identity().Published(ctx)
	switch {
	case err != nil:
		return unanswered(err)
	case published.Issuer == "" || len(published.JWKS) == 0:
		return check.Failed("the API server publishes no issuer of tokens, or no keys: expected both").Do("Set the API server's --service-account-issuer.")
	default:
		return check.Passed("the issuer of tokens is %s", published.Issuer)
	}
}
