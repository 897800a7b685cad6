// Package metrics holds the agent's metrics: those that kube-proxy has in nftables
// mode, by the same names and with the same meaning, so that dashboards and alerts
// go on working, and the agent's own, which begin with portolan_agent_.
//
// A list of kube-proxy's is in testdata, written from its own code by
// controlplane/internal/topology/kubeproxy.
package metrics
