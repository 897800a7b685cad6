package clustercheck

import (
	"context"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/userauth"
)

// The names that the chart gives.
const (
	controlPlaneName = "portolan-controlplane"
	agentName        = "portolan-agent"
)

func (c *inspection) rightsChecks() []check.Check {
	return []check.Check{
		c.looksAt(check.Before, "rights-install", "you may install Portolan", c.mayInstall),
		c.looksAt(check.After, "rights-controlplane", "the control plane may do what it needs", c.planeMay),
		c.looksAt(check.After, "rights-agent", "agents may do nothing in the cluster", c.agentMay),
		c.looksAt(check.After, "rights-token", "the API server takes agents' tokens for the control planes", c.tokenTaken),
	}
}

// installed are the kinds of objects of the chart.
func installed(namespace string) []kube.Right {
	create := func(group, resource string) kube.Right {
		return kube.Right{Verb: "create", Group: group, Resource: resource, Namespace: namespace}
	}
	return []kube.Right{
		{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
		create("", "serviceaccounts"), create("", "services"), create("", "configmaps"), create("", "secrets"),
		create("apps", "deployments"), create("apps", "daemonsets"), create("policy", "poddisruptionbudgets"),
		create("networking.k8s.io", "networkpolicies"),
	}
}

// needed are the rights of the chart's ClusterRole.
func needed() []kube.Right {
	var list []kube.Right
	for _, resource := range []kube.Right{{Resource: "services"}, {Resource: "nodes"}, {Group: "discovery.k8s.io", Resource: "endpointslices"}} {
		for _, verb := range []string{"list", "watch", "get"} {
			resource.Verb = verb
			list = append(list, resource)
		}
	}
	return append(list,
		kube.Right{Verb: "list", Group: "networking.k8s.io", Resource: "servicecidrs"}, kube.Right{Verb: "watch", Group: "networking.k8s.io", Resource: "servicecidrs"},
		kube.Right{Verb: "create", Group: "events.k8s.io", Resource: "events"}, kube.Right{Verb: "patch", Group: "events.k8s.io", Resource: "events"},
		kube.Right{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"}, kube.Right{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
		kube.Right{Verb: "get", Path: "/.well-known/openid-configuration"}, kube.Right{Verb: "get", Path: "/openid/v1/jwks"})
}

// forbidden are rights that somebody who has broken into a node would be glad of.
func forbidden() []kube.Right {
	return []kube.Right{
		{Verb: "list", Resource: "secrets"}, {Verb: "get", Resource: "secrets"}, {Verb: "list", Resource: "services"}, {Verb: "list", Resource: "pods"},
		{Verb: "list", Resource: "nodes"}, {Verb: "list", Group: "discovery.k8s.io", Resource: "endpointslices"}, {Verb: "create", Resource: "pods"},
		{Verb: "update", Resource: "services"}, {Verb: "update", Group: "discovery.k8s.io", Resource: "endpointslices"},
	}
}

// account is who a ServiceAccount is.
func account(namespace, name string) userauth.User {
	return userauth.User{Name: "system:serviceaccount:" + namespace + ":" + name, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}}
}

// split tells which of the rights somebody has.
func split(ctx context.Context, api *reached, who userauth.User, rights []kube.Right) (has, lacks []string, err error) {
	for _, right := range rights {
		may, err := api.May(ctx, who, right)
		if err != nil {
			return nil, nil, err
		}
		if may {
			has = append(has, right.String())
		} else {
			lacks = append(lacks, right.String())
		}
	}
	return has, lacks, nil
}

func (c *inspection) mayInstall(ctx context.Context, api *reached) check.Finding {
	has, lacks, err := split(ctx, api, userauth.User{}, installed(c.Namespace))
	if err != nil {
		return unanswered(err)
	}
	if len(lacks) > 0 {
		return check.Failed("you may not %s: expected it of who installs Portolan into namespace %s", check.Few(lacks), c.Namespace).Do("Install it as somebody who may, such as a cluster-admin.")
	}
	return check.Passed("you may create the %d kinds of objects that an installation has", len(has))
}

func (c *inspection) planeMay(ctx context.Context, api *reached) check.Finding {
	who := account(c.Namespace, controlPlaneName)
	has, lacks, err := split(ctx, api, who, needed())
	if err != nil {
		return unanswered(err)
	}
	if len(lacks) > 0 {
		return check.Failed("%s may not %s: expected it", who.Name, check.Few(lacks)).Do("Bind ClusterRole %s to that ServiceAccount, as the chart does.", controlPlaneName)
	}
	return check.Passed("%s may do all %d that it needs", who.Name, len(has))
}

func (c *inspection) agentMay(ctx context.Context, api *reached) check.Finding {
	who := account(c.Namespace, agentName)
	has, _, err := split(ctx, api, who, forbidden())
	if err != nil {
		return unanswered(err)
	}
	if len(has) > 0 {
		return check.Warned("%s may %s: expected no rights: who breaks into a node has them", who.Name, check.Few(has)).Do("Find the binding that gives them: kubectl auth can-i --list --as %s", who.Name)
	}
	return check.Passed("%s may do none of what it does not need", who.Name)
}

// tokenTaken has a token made as a pod would have it, and asks about it as a control plane does.
func (c *inspection) tokenTaken(ctx context.Context, api *reached) check.Finding {
	token, err := api.AccountToken(ctx, c.Namespace, agentName, c.Audience)
	if err != nil {
		return unanswered(err)
	}
	user, good, reason, err := api.Identity().ReviewToken(ctx, token, c.Audience)
	if err != nil {
		return unanswered(err)
	}
	return judgeToken(user.Name, good, reason, c.Audience, account(c.Namespace, agentName).Name)
}

func judgeToken(user string, good bool, reason, audience, want string) check.Finding {
	switch {
	case !good:
		return check.Failed("the API server does not take a token for audience %q: %s", audience, reason).Do("See that no authentication configuration of the API server excludes ServiceAccounts' tokens.")
	case user != want:
		return check.Failed("the API server takes an agent's token for that of %q: expected %q", user, want).Do("See what authenticates requests before the API server.")
	default:
		return check.Passed("the API server takes a token for audience %q for that of %s", audience, user)
	}
}
