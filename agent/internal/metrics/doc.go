// Package metrics holds the agent's metrics and its idea of health, and serves
// them: /healthz and /livez for load balancers and the kubelet, /metrics for
// Prometheus, /proxyMode as kube-proxy does.
package metrics
