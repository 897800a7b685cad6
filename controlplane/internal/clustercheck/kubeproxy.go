package clustercheck

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/controlplane/internal/configuration"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

func (c *inspection) kubeProxyChecks() []check.Check {
	return []check.Check{
		judges(check.Always, "kubeproxy-daemonset", "kube-proxy is taken away once Portolan is installed", c.kubeProxy, func(found *appsv1.DaemonSet) check.Finding {
			return judgeKubeProxy(found, c.Before)
		}),
		c.looksAt(check.Before, "kubeproxy-configuration", "kube-proxy's configuration can be taken over", c.proxyConfiguration),
		c.looksAt(check.Always, "kubeproxy-replacement", "Cilium does not take kube-proxy's place", func(ctx context.Context, api *reached) check.Finding {
			found, err := api.ConfigMap(ctx, "kube-system", "cilium-config")
			if err != nil {
				return unanswered(err)
			}
			return judgeCilium(found)
		}),
	}
}

func judgeKubeProxy(found *appsv1.DaemonSet, before bool) check.Finding {
	switch {
	case found == nil:
		return check.Passed("there is no DaemonSet kube-system/kube-proxy")
	case found.Status.DesiredNumberScheduled == 0:
		return check.Passed("DaemonSet kube-system/kube-proxy is on no node")
	case before:
		return check.Warned("DaemonSet kube-system/kube-proxy is on %d nodes: expected that it is taken away once Portolan is installed", found.Status.DesiredNumberScheduled).Do("Follow the guide to migration.")
	default:
		return check.Warned("DaemonSet kube-system/kube-proxy is on %d nodes, beside Portolan: expected one of them", found.Status.DesiredNumberScheduled).Do("Take it away, as the guide to migration says, once all nodes are Synced.")
	}
}

func (c *inspection) proxyConfiguration(ctx context.Context, api *reached) check.Finding {
	found, err := c.kubeProxy()
	if err != nil {
		return unanswered(err)
	}
	content, err := api.ProxyConfiguration(ctx)
	switch {
	case err != nil && found == nil:
		return check.Skipped("there is no kube-proxy of kubeadm's")
	case err != nil:
		return check.Warned("%v", err).Do("Import kube-proxy's file or flags by hand: portolan config import.")
	default:
		return judgeConfiguration(content)
	}
}

func judgeConfiguration(content []byte) check.Finding {
	imported, err := configuration.Import(content)
	if err != nil {
		return check.Failed("%s: %v", kube.ProxyConfigurationPlace, err).Do("Mend it, or write a configuration of Portolan's own.")
	}
	var ignored []string
	mode := "the default, iptables"
	for _, item := range imported.Items {
		if item.Outcome == proxyconfig.Ignored {
			ignored = append(ignored, item.Field)
		}
		if item.Field == "mode" {
			mode = item.Value
		}
	}
	said := imported.Warnings
	if len(ignored) > 0 {
		said = append(said, "without effect are "+check.Few(ignored))
	}
	if len(said) > 0 {
		return check.Warned("kube-proxy's mode is %s; %s", mode, strings.Join(said, "; ")).Do("portolan config import --from-cluster says of each what to set instead.")
	}
	return check.Passed("kube-proxy's mode is %s; all of its configuration can be taken over", mode)
}

func judgeCilium(found *corev1.ConfigMap) check.Finding {
	if found == nil {
		return check.Passed("there is no ConfigMap kube-system/cilium-config")
	}
	const key = "kube-proxy-replacement"
	switch value := found.Data[key]; value {
	case "true", "strict":
		return check.Failed("ConfigMap kube-system/cilium-config: %s is %q: expected \"false\": its programs translate connections before Portolan's rules see them", key, value).Do("Install Cilium with kubeProxyReplacement=false.")
	default:
		return check.Passed("ConfigMap kube-system/cilium-config: %s is %q", key, value)
	}
}
