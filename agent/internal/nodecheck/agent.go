package nodecheck

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/api/check"
)

const agentName = "portolan-agent"

// The ports that kube-proxy has too.
const (
	healthPort  = 10256
	metricsPort = 10249
)

func (n *node) agentChecks() []check.Check {
	return []check.Check{
		looksAt(check.Always, "agent-process", "one agent runs, or none before the installation", n.agents),
		looksAt(check.Always, "agent-health-port", "port 10256 is the agent's", n.port(healthPort, "/healthz, which load balancers ask")),
		looksAt(check.Always, "agent-metrics-port", "port 10249 is the agent's", n.port(metricsPort, "/metrics")),
		check.New(check.Node, check.After, "agent-health", "the agent says that it is well", n.health),
		looksAt(check.Before, "agent-leftovers", "no earlier installation has left rules", n.leftovers),
		looksAt(check.After, "agent-tables", "the kernel has Portolan's tables, as this version makes them", n.ownTables),
		looksAt(check.After, "agent-anchor", "the kernel has the tables that keep connections translated", n.anchors),
	}
}

func (n *node) agents() check.Finding {
	list, err := n.processes()
	if err != nil {
		return check.Skipped("the processes cannot be listed: %v", err)
	}
	return judgeAgents(list.named(agentName), n.Before)
}

func judgeAgents(found processes, before bool) check.Finding {
	known := slices.DeleteFunc(slices.Clone(found), func(p process) bool { return p.where != here })
	switch {
	case len(known) > 1:
		return check.Failed("%s run in one network namespace: expected one: each undoes what the other does", known).Do("End all but one.")
	case len(found) > 0 && before:
		return check.Warned("%s runs already: expected none before the installation", found).Do("Look at what is there without --pre.")
	case len(found) == 0 && !before:
		return check.Warned("no %s is among the processes that this one sees: expected one", agentName).Do("Run this on the node itself; if it is not seen there either, look at the agent's pod.")
	case len(known) == 1:
		return check.Passed("%s runs", known)
	case len(found) > 0:
		return check.Passed("%s runs, in a network namespace that this process may not see", found)
	default:
		return check.Passed("none is among the processes that this one sees")
	}
}

// port looks at who listens on a port.
func (n *node) port(number uint16, what string) func() check.Finding {
	return func() check.Finding {
		inode, err := listener(n.Root, number)
		if err != nil {
			return check.Skipped("%v", err)
		}
		if inode == "" {
			return judgeFree(number, what, n.Before)
		}
		list, _ := n.processes()
		owner, seen := list.owner(n.Root, inode)
		if !seen {
			return judgeUnseen(number, n.Before)
		}
		return judgePort(number, what, owner, n.Before)
	}
}

func judgeFree(port uint16, what string, before bool) check.Finding {
	if before {
		return check.Passed("port %d is free", port)
	}
	return check.Warned("nobody listens on port %d: expected %s, with %s", port, agentName, what).Do("See that the agent runs, and its --healthz-bind-address and --metrics-bind-address.")
}

func judgeUnseen(port uint16, before bool) check.Finding {
	if before {
		return check.Warned("somebody listens on port %d: expected nobody, or kube-proxy, until Portolan is installed", port).Do("Run this as root on the node, to see who it is.")
	}
	return check.Passed("somebody listens on port %d whom this process may not see", port)
}

func judgePort(port uint16, what string, owner process, before bool) check.Finding {
	isAgent, isKubeProxy := owner.name == agentName, slices.Contains(kubeProxyNames, owner.name)
	switch {
	case isAgent:
		return check.Passed("%s listens on port %d", owner, port)
	case isKubeProxy && before:
		return check.Warned("%s listens on port %d: the agent takes it when it is free", owner, port).Do("Go on: the agent tries again until kube-proxy is taken away.")
	case isKubeProxy:
		return check.Warned("%s listens on port %d: expected %s, with %s", owner, port, agentName, what).Do("Take kube-proxy away; the agent takes the port then.")
	default:
		return check.Failed("%s listens on port %d: expected %s, with %s", owner, port, agentName, what).Do("End that program, or have the agent listen elsewhere (--healthz-bind-address, --metrics-bind-address).")
	}
}

// health asks the agent on this node.
func (n *node) health(ctx context.Context) check.Finding {
	_, port, err := net.SplitHostPort(n.HealthAddress)
	if err != nil {
		return check.Skipped("the agent serves no health")
	}
	url := "http://" + net.JoinHostPort("127.0.0.1", port) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return check.Skipped("%v", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return check.Failed("%s does not answer: %s", url, check.OneLine(err)).Do("See that the agent runs on this node, and what it logs.")
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return check.Failed("%s answers %s: expected 200 OK", url, response.Status).Do("Read what %s says: whether it has got everything, and whether the Node is about to be removed.", url)
	}
	return check.Passed("%s answers %s", url, response.Status)
}

func (n *node) leftovers() check.Finding {
	all, err := n.tables()
	if err != nil {
		return check.Skipped("the kernel's tables cannot be listed: %s", check.OneLine(err))
	}
	found := all.ours(nftables.TableName, nftables.AnchorName)
	if len(found) == 0 {
		return check.Passed("there are none")
	}
	return check.Warned("the kernel has %s: the agent takes them over", check.Few(found)).Do("If nothing of it is to stay, run portolan-agent cleanup.")
}

// ours names those of our tables that are there.
func (t *tables) ours(names ...string) []string {
	var found []string
	for _, table := range *t {
		if slices.Contains(names, table.Name) {
			found = append(found, fmt.Sprintf("table %s of %s", table.Name, table.Family))
		}
	}
	return found
}

func (n *node) ownTables() check.Finding {
	all, err := n.tables()
	if err != nil {
		return check.Skipped("the kernel's tables cannot be listed: %s", check.OneLine(err))
	}
	return judgeTables(*all, n.families())
}

func (n *node) families() []dataplane.Family {
	if n.hasIPv6() {
		return []dataplane.Family{dataplane.IPv4, dataplane.IPv6}
	}
	return []dataplane.Family{dataplane.IPv4}
}

func judgeTables(all tables, families []dataplane.Family) check.Finding {
	var missing, other []string
	for _, family := range families {
		i := slices.IndexFunc(all, func(t nftables.Table) bool { return t.Family == family && t.Name == nftables.TableName })
		switch {
		case i < 0:
			missing = append(missing, string(family))
		case all[i].Layout != nftables.Layout:
			other = append(other, fmt.Sprintf("%s has layout %d", family, all[i].Layout))
		}
	}
	switch {
	case len(missing) > 0:
		return check.Failed("the kernel has no table %s of %s: expected it: Services are not served", nftables.TableName, strings.Join(missing, " and ")).Do("See that the agent runs in this network namespace, and whether it is Synced: portolan get nodes.")
	case len(other) > 0:
		return check.Warned("table %s of %s: expected layout %d, which this version makes", nftables.TableName, strings.Join(other, ", "), nftables.Layout).Do("Use the portolan of the agent's version, or wait until the agent has been exchanged.")
	default:
		return check.Passed("table %s is there, with layout %d", nftables.TableName, nftables.Layout)
	}
}

func (n *node) anchors() check.Finding {
	all, err := n.tables()
	if err != nil {
		return check.Skipped("the kernel's tables cannot be listed: %s", check.OneLine(err))
	}
	if found := all.ours(nftables.AnchorName); len(found) < len(n.families()) {
		return check.Warned("the kernel has %d tables %s: expected one of each family: established connections break if somebody deletes the other table", len(found), nftables.AnchorName).
			Do("See that the agent runs; it makes the table within a second or two.")
	}
	return check.Passed("table %s is there", nftables.AnchorName)
}
