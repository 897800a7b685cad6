package clustercheck

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/portolan-net/portolan/api/check"
)

func (c *inspection) installChecks() []check.Check {
	return []check.Check{
		c.looksAt(check.Always, "install-namespace", "the namespace lets the agents' pods in", c.namespace),
		judges(check.After, "install-controlplane", "two control planes or more are ready", c.planes, judgeDeployment),
		c.looksAt(check.After, "install-budget", "not all control planes are evicted at once", c.budget),
		judges(check.After, "install-agents", "an agent is ready on every node", c.agents, judgeDaemonSet),
		check.New(check.Cluster, check.After, "install-coverage", "no node is left without an agent", func(context.Context) check.Finding { return c.coverage() }),
		check.New(check.Cluster, check.After, "install-images", "control planes and agents are of one image", func(context.Context) check.Finding { return c.images() }),
	}
}

// enforced is the label of the Pod Security Standard that a namespace enforces.
const enforced = "pod-security.kubernetes.io/enforce"

func (c *inspection) namespace(ctx context.Context, api *reached) check.Finding {
	found, err := api.Namespace(ctx, c.Namespace)
	if err != nil {
		return unanswered(err)
	}
	return judgeNamespace(c.Namespace, found, c.Before)
}

func judgeNamespace(name string, found *corev1.Namespace, before bool) check.Finding {
	switch {
	case found == nil && before:
		return check.Passed("namespace %s is not there yet", name)
	case found == nil:
		return check.Failed("namespace %s is not there: expected the one that Portolan is installed in", name).Do("Give --namespace, or install Portolan; --pre is for before that.")
	}
	switch level := found.Labels[enforced]; level {
	case "", "privileged":
		return check.Passed("namespace %s enforces no Pod Security Standard that keeps agents out", name)
	default:
		return check.Failed("namespace %s has the label %s=%s: expected privileged: the agents' pods are of the host's network", name, enforced, level).
			Do("kubectl label --overwrite namespace %s %s=privileged", name, enforced)
	}
}

func judgeDeployment(found *appsv1.Deployment) check.Finding {
	const enough = 2
	if found == nil {
		return check.Failed("Deployment %s is not there: expected the control planes", controlPlaneName).Do("Give --namespace, or install Portolan; --pre is for before that.")
	}
	wanted := int32(1)
	if found.Spec.Replicas != nil {
		wanted = *found.Spec.Replicas
	}
	switch ready := found.Status.ReadyReplicas; {
	case ready == 0:
		return check.Failed("Deployment %s: none of %d replicas is ready: expected %d: nodes keep the rules that they have", controlPlaneName, wanted, enough).Do("See what its pods log: kubectl -n %s logs deployment/%s", found.Namespace, controlPlaneName)
	case ready < wanted:
		return check.Warned("Deployment %s: %d of %d replicas are ready", controlPlaneName, ready, wanted).Do("See what keeps the others from it: kubectl -n %s get pods.", found.Namespace)
	case ready < enough:
		return check.Warned("Deployment %s: %d replica is ready: expected %d: while it is exchanged nothing follows the cluster", controlPlaneName, ready, enough).Do("Set controlPlane.replicas to 2, unless the cluster has one node.")
	default:
		return check.Passed("Deployment %s: %d of %d replicas are ready", controlPlaneName, ready, wanted)
	}
}

func (c *inspection) budget(ctx context.Context, api *reached) check.Finding {
	found, err := api.DisruptionBudget(ctx, c.Namespace, controlPlaneName)
	if err != nil {
		return unanswered(err)
	}
	return judgeBudget(found)
}

func judgeBudget(found *policyv1.PodDisruptionBudget) check.Finding {
	if found == nil {
		return check.Warned("PodDisruptionBudget %s is not there: expected one: a drain may evict all control planes at once", controlPlaneName).Do("Apply the one of the chart.")
	}
	return check.Passed("PodDisruptionBudget %s is there", controlPlaneName)
}

func judgeDaemonSet(found *appsv1.DaemonSet) check.Finding {
	if found == nil {
		return check.Failed("DaemonSet %s is not there: expected the agents", agentName).Do("Give --namespace, or install Portolan; --pre is for before that.")
	}
	s := found.Status
	switch {
	case s.DesiredNumberScheduled == 0:
		return check.Failed("DaemonSet %s is on no node", agentName).Do("Look at its nodeSelector and tolerations.")
	case s.NumberReady == 0:
		return check.Failed("DaemonSet %s: none of %d pods is ready", agentName, s.DesiredNumberScheduled).Do("See what they log: kubectl -n %s logs daemonset/%s --all-containers", found.Namespace, agentName)
	case s.NumberReady < s.DesiredNumberScheduled:
		return check.Warned("DaemonSet %s: %d of %d pods are ready: the other nodes keep the rules that they have, or have none", agentName, s.NumberReady, s.DesiredNumberScheduled).Do("See which are not: kubectl -n %s get pods -o wide.", found.Namespace)
	default:
		return check.Passed("DaemonSet %s: %d of %d pods are ready", agentName, s.NumberReady, s.DesiredNumberScheduled)
	}
}

func (c *inspection) coverage() check.Finding {
	agents, err := c.agents()
	if err != nil {
		return unanswered(err)
	}
	nodes, err := c.nodes()
	if err != nil {
		return unanswered(err)
	}
	return judgeCoverage(agents, nodes)
}

// judgeCoverage compares numbers: which nodes a DaemonSet leaves out is the scheduler's to say.
func judgeCoverage(agents *appsv1.DaemonSet, nodes []corev1.Node) check.Finding {
	if agents == nil {
		return check.Skipped("DaemonSet %s is not there", agentName)
	}
	linux := len(those(nodes, isLinux))
	if scheduled := int(agents.Status.DesiredNumberScheduled); scheduled < linux {
		return check.Warned("DaemonSet %s is on %d of %d Linux nodes: expected all: Services are not served on the others", agentName, scheduled, linux).Do("Look at its nodeSelector and tolerations, and at the nodes' taints.")
	}
	return check.Passed("DaemonSet %s is on all %d Linux nodes", agentName, linux)
}

func (c *inspection) images() check.Finding {
	agents, err := c.agents()
	if err != nil {
		return unanswered(err)
	}
	planes, err := c.planes()
	if err != nil {
		return unanswered(err)
	}
	if agents == nil || planes == nil {
		return check.Skipped("Portolan is not installed whole")
	}
	return judgeImages(imageOf(planes.Spec.Template.Spec), imageOf(agents.Spec.Template.Spec))
}

// imageOf returns the image of a pod's first container.
func imageOf(pod corev1.PodSpec) string {
	if len(pod.Containers) == 0 {
		return ""
	}
	return pod.Containers[0].Image
}

func judgeImages(planes, agents string) check.Finding {
	if planes != agents {
		return check.Warned("control planes are of image %s, agents of %s: expected one image, but while they are exchanged", planes, agents).Do("Upgrade the whole chart.")
	}
	if strings.HasSuffix(planes, ":latest") || !strings.ContainsAny(planes[strings.LastIndexByte(planes, '/')+1:], ":@") {
		return check.Warned("the image is %s: expected a tag that stays, or a digest", planes).Do("Set image.tag or image.digest.")
	}
	return check.Passed("control planes and agents are of image %s", planes)
}
