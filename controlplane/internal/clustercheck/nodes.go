package clustercheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

func (c *inspection) nodesChecks() []check.Check {
	about := func(id, title string, judge func([]corev1.Node) check.Finding) check.Check {
		return judges(check.Always, id, title, c.nodes, judge)
	}
	return []check.Check{
		about("nodes-present", "the cluster has nodes", judgePresent),
		about("nodes-system", "the nodes run Linux", judgeSystems),
		about("nodes-kernel", "the nodes have kernels that Portolan was tested on", judgeKernels),
		about("nodes-ready", "the nodes are ready", judgeReady),
		about("nodes-addresses", "the nodes have addresses", judgeNodeAddresses),
		about("nodes-pod-cidrs", "the nodes have pod CIDRs", judgePodCIDRs),
		about("nodes-families", "the nodes have the same address families", judgeFamilies),
		about("nodes-zones", "the nodes are in zones, or none is", judgeZones),
	}
}

// those returns the names of nodes that something holds for.
func those(nodes []corev1.Node, holds func(*corev1.Node) bool) []string {
	var names []string
	for i := range nodes {
		if holds(&nodes[i]) {
			names = append(names, nodes[i].Name)
		}
	}
	return names
}

func judgePresent(nodes []corev1.Node) check.Finding {
	if len(nodes) == 0 {
		return check.Warned("the cluster has no Nodes: expected some").Do("Join nodes to the cluster.")
	}
	return check.Passed("the cluster has %d Nodes", len(nodes))
}

// isLinux takes a Node whose kubelet has not said anything yet for one.
func isLinux(n *corev1.Node) bool {
	system := n.Status.NodeInfo.OperatingSystem
	return system == "" || system == "linux"
}

func judgeSystems(nodes []corev1.Node) check.Finding {
	if others := those(nodes, func(n *corev1.Node) bool { return !isLinux(n) }); len(others) > 0 {
		return check.Warned("%d of %d Nodes do not run Linux (%s): expected that something else serves Services there", len(others), len(nodes), check.Few(others)).Do("Keep kube-proxy on those nodes: give its DaemonSet a nodeSelector kubernetes.io/os: windows.")
	}
	return check.Passed("all %d Nodes run Linux", len(nodes))
}

// judgeKernels names the nodes whose kernels are worse than they should be.
func judgeKernels(nodes []corev1.Node) check.Finding {
	worst := check.Passed("the Nodes have kernels that Portolan was tested on")
	found := map[check.Outcome][]string{}
	for i := range nodes {
		release := nodes[i].Status.NodeInfo.KernelVersion
		if !isLinux(&nodes[i]) || release == "" {
			continue
		}
		judged := check.Kernel(release)
		found[judged.Outcome] = append(found[judged.Outcome], fmt.Sprintf("%s (%s)", nodes[i].Name, release))
		if judged.Outcome == check.Fail || judged.Outcome == check.Warn && worst.Outcome == check.Pass {
			worst = judged
		}
	}
	if worst.Outcome == check.Pass {
		return worst
	}
	_, expected, _ := strings.Cut(worst.Message, ": ")
	worst.Message = fmt.Sprintf("%d of %d Nodes: %s: %s", len(found[worst.Outcome]), len(nodes), check.Few(found[worst.Outcome]), expected)
	return worst
}

func judgeReady(nodes []corev1.Node) check.Finding {
	unready := those(nodes, func(n *corev1.Node) bool {
		return !slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	})
	if len(unready) > 0 {
		return check.Warned("%d of %d Nodes are not ready: %s", len(unready), len(nodes), check.Few(unready)).Do("See why with kubectl describe node; without a network plugin no node is ready.")
	}
	return check.Passed("all %d Nodes are ready", len(nodes))
}

// read reads the Nodes as a control plane does.
func read(nodes []corev1.Node) []*model.Node {
	list := make([]*model.Node, 0, len(nodes))
	for i := range nodes {
		if node, _, err := objects.Node(&nodes[i]); err == nil {
			list = append(list, node)
		}
	}
	return list
}

// named returns the names of Nodes, as a control plane reads them, that something holds for.
func named(nodes []*model.Node, holds func(*model.Node) bool) []string {
	var names []string
	for _, node := range nodes {
		if holds(node) {
			names = append(names, node.Name)
		}
	}
	return names
}

func judgeNodeAddresses(nodes []corev1.Node) check.Finding {
	if without := named(read(nodes), func(n *model.Node) bool { return len(n.IPs) == 0 }); len(without) > 0 {
		return check.Warned("%d of %d Nodes have neither an InternalIP nor an ExternalIP: %s", len(without), len(nodes), check.Few(without)).Do("See that the kubelet, or the cloud's controller, sets status.addresses.")
	}
	return check.Passed("all %d Nodes have addresses", len(nodes))
}

func judgePodCIDRs(nodes []corev1.Node) check.Finding {
	if without := named(read(nodes), func(n *model.Node) bool { return len(n.PodCIDRs) == 0 }); len(without) > 0 {
		return check.Warned("%d of %d Nodes have no spec.podCIDRs: %s: by them a node knows which packets are from its pods", len(without), len(nodes), check.Few(without)).
			Do("Set detectLocal in the configuration to what the network plugin has: ClusterCIDR, BridgeInterface or InterfaceNamePrefix.")
	}
	return check.Passed("all %d Nodes have pod CIDRs", len(nodes))
}

// familiesOf says which families a Node has pods or addresses of.
func familiesOf(node *model.Node) string {
	var v4, v6 bool
	for _, cidr := range node.PodCIDRs {
		v4, v6 = v4 || !cidr.Addr().Is6(), v6 || cidr.Addr().Is6()
	}
	if !v4 && !v6 {
		for _, addr := range node.IPs {
			v4, v6 = v4 || !addr.Is6(), v6 || addr.Is6()
		}
	}
	switch {
	case v4 && v6:
		return "both families"
	case v4:
		return "IPv4 alone"
	case v6:
		return "IPv6 alone"
	default:
		return ""
	}
}

func judgeFamilies(nodes []corev1.Node) check.Finding {
	found := map[string][]string{}
	for _, node := range read(nodes) {
		if families := familiesOf(node); families != "" {
			found[families] = append(found[families], node.Name)
		}
	}
	var groups []string
	for _, families := range slices.Sorted(maps.Keys(found)) {
		groups = append(groups, fmt.Sprintf("%s: %s", families, check.Few(found[families])))
	}
	if len(found) > 1 {
		return check.Warned("the Nodes differ in their address families: %s", strings.Join(groups, "; ")).Do("Give all nodes pod CIDRs of the same families.")
	}
	if len(found) == 0 {
		return check.Skipped("no Node has pod CIDRs or addresses")
	}
	return check.Passed("all Nodes have %s", slices.Collect(maps.Keys(found))[0])
}

func judgeZones(nodes []corev1.Node) check.Finding {
	zones, list := map[string]bool{}, read(nodes)
	for _, node := range list {
		zones[node.Zone] = true
	}
	delete(zones, "")
	without := named(list, func(n *model.Node) bool { return n.Zone == "" })
	switch {
	case len(zones) == 0:
		return check.Passed("no Node is in a zone: hints of zones have no effect")
	case len(without) > 0:
		return check.Warned("%d of %d Nodes have no label %s: %s: they use endpoints of all zones", len(without), len(nodes), corev1.LabelTopologyZone, check.Few(without)).Do("Label the nodes.")
	default:
		return check.Passed("the Nodes are in %d zones", len(zones))
	}
}
