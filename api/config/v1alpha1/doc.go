// Package v1alpha1 is Portolan's own configuration of the nodes, a Configuration of
// portolan.net/v1alpha1: what the control plane's --config and `portolan apply` read
// beside kube-proxy's KubeProxyConfiguration. It has types and defaults only, and no
// dependencies, so that others can write such files.
//
// A field that is left out has its default. All are described, with the fields and
// flags of kube-proxy that they take the place of, in docs/reference/configuration.md,
// whose table is made from this package.
package v1alpha1
