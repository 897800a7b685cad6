// Package address reads IP addresses as Kubernetes reads them and says which of
// them must never become an endpoint or a Service's address, whoever asks.
//
// The control plane applies the rule to what it is told; the agent applies it
// again to what the control plane tells it. It depends on the standard library
// alone.
package address
