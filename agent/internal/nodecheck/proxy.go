package nodecheck

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/api/check"
)

func (n *node) proxyChecks() []check.Check {
	return []check.Check{
		looksAt(check.Always, "proxy-process", "no kube-proxy runs beside Portolan", n.kubeProxy),
		looksAt(check.Always, "proxy-nftables", "there are no nftables rules of kube-proxy's", n.rulesOf("nftables", (*tables).kubeProxy)),
		looksAt(check.Always, "proxy-iptables", "there are no iptables rules of kube-proxy's", n.rulesOf("iptables", (*tables).iptables)),
		looksAt(check.Always, "proxy-ipvs", "there is no interface of kube-proxy's mode ipvs", n.kubeIPVS),
		looksAt(check.Always, "proxy-others", "no other program takes kube-proxy's place", n.otherProxies),
	}
}

// tables are nftables' tables.
type tables []nftables.Table

func survey() (*tables, error) {
	found, err := nftables.Survey()
	return (*tables)(&found), err
}

// kubeProxy returns what its mode nftables has made.
func (t *tables) kubeProxy() []string {
	var found []string
	for _, table := range *t {
		if table.Name == "kube-proxy" {
			found = append(found, fmt.Sprintf("table kube-proxy of %s", table.Family))
		}
	}
	return found
}

// iptables returns what its mode iptables has made by way of iptables-nft. The rules of
// iptables-legacy cannot be read without that program.
func (t *tables) iptables() []string {
	var found []string
	for _, table := range *t {
		ours := 0
		for _, chain := range table.Chains {
			// The kubelet makes KUBE-MARK-DROP, KUBE-FIREWALL and KUBE-KUBELET-CANARY.
			if strings.HasPrefix(chain, "KUBE-SVC-") || strings.HasPrefix(chain, "KUBE-SEP-") || slices.Contains([]string{"KUBE-SERVICES", "KUBE-NODEPORTS"}, chain) {
				ours++
			}
		}
		if ours > 0 {
			found = append(found, fmt.Sprintf("%d chains KUBE-SERVICES and the like in table %s of %s", ours, table.Name, table.Family))
		}
	}
	return found
}

var kubeProxyNames = []string{"kube-proxy"}

func (n *node) kubeProxy() check.Finding {
	list, err := n.processes()
	if err != nil {
		return check.Skipped("the processes cannot be listed: %v", err)
	}
	return judgeKubeProxy(list.named(kubeProxyNames...), n.Before)
}

func judgeKubeProxy(alive processes, before bool) check.Finding {
	switch {
	case len(alive) == 0:
		return check.Passed("none is among the processes that this one sees")
	case before:
		return check.Warned("%s runs: expected that it is taken away once Portolan is installed", alive).Do("Go on: they can be beside each other while you migrate.")
	default:
		return check.Warned("%s runs beside Portolan: expected one of them: both translate connections to Services", alive).Do("Take kube-proxy away, and then what it left, as the guide to migration says.")
	}
}

// rulesOf looks for rules that kube-proxy has made.
func (n *node) rulesOf(mode string, found func(*tables) []string) func() check.Finding {
	return func() check.Finding {
		all, err := n.tables()
		if err != nil {
			return check.Skipped("the kernel's tables cannot be listed: %s", check.OneLine(err))
		}
		return judgeRules(mode, found(all), n.kubeProxyRuns(), n.Before)
	}
}

// kubeProxyRuns tells whether one is seen.
func (n *node) kubeProxyRuns() bool {
	list, err := n.processes()
	return err == nil && len(list.named(kubeProxyNames...)) > 0
}

// judgeRules is strict with rules that nobody keeps: in time their endpoints go.
func judgeRules(mode string, found []string, alive, before bool) check.Finding {
	switch {
	case len(found) == 0:
		return check.Passed("there are none")
	case alive:
		return check.Warned("kube-proxy's mode %s has %s", mode, check.Few(found)).Do("Take kube-proxy away once Portolan is installed, and run kube-proxy --cleanup.")
	case before:
		return check.Warned("kube-proxy's mode %s has %s, and no kube-proxy is seen that keeps them up to date", mode, check.Few(found)).Do("If no kube-proxy is to come back, run kube-proxy --cleanup.")
	default:
		return check.Failed("kube-proxy's mode %s has left %s, and no kube-proxy is seen that keeps them up to date: they send connections to endpoints that go", mode, check.Few(found)).Do("Run kube-proxy --cleanup on the node, from kube-proxy's image.")
	}
}

func (n *node) kubeIPVS() check.Finding {
	const name = "kube-ipvs0"
	switch _, err := netlink.LinkByName(name); {
	case errors.As(err, new(netlink.LinkNotFoundError)):
		return check.Passed("there is none")
	case err != nil:
		return check.Skipped("the interfaces cannot be listed: %v", err)
	default:
		return judgeRules("ipvs", []string{"interface " + name}, n.kubeProxyRuns(), n.Before)
	}
}

// otherProxies looks for programs that can take kube-proxy's place, whether they do or not.
func (n *node) otherProxies() check.Finding {
	list, err := n.processes()
	if err != nil {
		return check.Skipped("the processes cannot be listed: %v", err)
	}
	return judgeOthers(list.named("cilium-agent", "kube-router", "antrea-agent", "kpng"))
}

func judgeOthers(found processes) check.Finding {
	if len(found) == 0 {
		return check.Passed("none is among the processes that this one sees")
	}
	return check.Warned("%s runs: expected that it does not translate connections to Services", found).
		Do("Have it leave Services alone: Cilium with kubeProxyReplacement=false, kube-router with --run-service-proxy=false, Antrea with antreaProxy.proxyAll=false.")
}
