// Package deploy renders the Helm chart and holds what it gives against what Kubernetes and
// its users expect. It is a module of its own, so that Helm's requirements never reach the
// product's.
package deploy
